{{/* Names, labels and what more than one template says. */}}

{{- define "private-connect.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The operator refuses to dial Services of its namespace that carry app.kubernetes.io/name: private-connect. */}}
{{- define "private-connect.selectorLabels" -}}
app.kubernetes.io/name: private-connect
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "private-connect.labels" -}}
{{ include "private-connect.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "private-connect.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "private-connect.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.create is false: set serviceAccount.name to the ServiceAccount to use" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "private-connect.subject" -}}
- kind: ServiceAccount
  name: {{ include "private-connect.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "private-connect.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Host of embeddedHub.publicUrl, without a port. */}}
{{- define "private-connect.publicHost" -}}
{{- regexReplaceAll ":[0-9]+$" (urlParse .Values.embeddedHub.publicUrl).host "" -}}
{{- end -}}

{{/* Values that are each right and wrong together. */}}
{{- define "private-connect.check" -}}
{{- if and .Values.policies.enabled .Values.watchNamespaces -}}
{{- fail "policies.enabled is for a cluster-wide installation: policies are cluster-wide objects; unset it or watchNamespaces" -}}
{{- end -}}
{{- with .Values.embeddedHub -}}
{{- if and .enabled (gt (int $.Values.replicas) 1) -}}
{{- fail "replicas must be 1 with embeddedHub.enabled: the hub's state belongs to one process" -}}
{{- end -}}
{{- if and .enabled $.Values.hub.apiKeySecret -}}
{{- fail "hub.apiKeySecret is for another hub: the embedded one makes its own key; unset it or embeddedHub.enabled" -}}
{{- end -}}
{{- if and .enabled $.Values.hub.caSecret -}}
{{- fail "hub.caSecret is for another hub: the embedded one is reached inside the process; unset it or embeddedHub.enabled" -}}
{{- end -}}
{{- if and .ingress.enabled (not .enabled) -}}
{{- fail "embeddedHub.ingress.enabled needs embeddedHub.enabled" -}}
{{- end -}}
{{- if and .ingress.enabled (not .publicUrl) -}}
{{- fail "embeddedHub.ingress.enabled needs embeddedHub.publicUrl: its host is the Ingress's host" -}}
{{- end -}}
{{- if and .ingress.enabled (not (has (urlParse .publicUrl).path (list "" "/"))) -}}
{{- fail "embeddedHub.publicUrl must have no path with embeddedHub.ingress.enabled: the hub serves at /" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The rule of both policies: whether anything of a namespace may be shared. */}}
{{- define "private-connect.sharingAllowed" -}}
- expression: >-
    !(request.namespace in {{ toJson (.forbiddenNamespaces | default list) }})
    && !(has(namespaceObject.metadata.labels) && 'connect.privateconnect.co/sharing' in namespaceObject.metadata.labels
    && namespaceObject.metadata.labels['connect.privateconnect.co/sharing'] == 'forbidden')
  messageExpression: >-
    'nothing of namespace ' + request.namespace + ' may be shared: use another namespace, or ask whoever manages the cluster'
  reason: Forbidden
{{- end -}}

{{/*
What the operator does in a namespace that it serves, and not a verb more; a test compares this with the API server's audit
log. Secrets cannot be told apart by type in a role: the operator lists and watches those of its own two types only, and
writes and deletes only the codes of its shares.
*/}}
{{- define "private-connect.rules" -}}
- apiGroups: [connect.privateconnect.co]
  resources: [serviceexposes]
  verbs: [list, watch, patch{{ if .Values.labelledServices.enabled }}, create, delete{{ end }}]
- apiGroups: [connect.privateconnect.co]
  resources: [environmentshares]
  verbs: [list, watch, patch, delete]
- apiGroups: [connect.privateconnect.co]
  resources: [serviceexposes/status, environmentshares/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
