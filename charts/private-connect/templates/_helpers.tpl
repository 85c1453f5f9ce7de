{{/* Names, labels and what more than one template says. */}}

{{- define "private-connect.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else if regexMatch "^[0-9]" .Release.Name -}}
{{- /* Names of Services begin with a letter. */ -}}
{{- printf "%s-%s" .Chart.Name .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The operator refuses to dial Services of its namespace that carry app.kubernetes.io/name: private-connect. */}}
{{- define "private-connect.selectorLabels" -}}
app.kubernetes.io/name: private-connect
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The chart's own labels; by these Services, Pods and policies find each other, so commonLabels cannot change them. */}}
{{- define "private-connect.ownLabels" -}}
{{ include "private-connect.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{- define "private-connect.labels" -}}
{{ merge (fromYaml (include "private-connect.ownLabels" .)) .Values.commonLabels | toYaml }}
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
  name: {{ include "private-connect.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
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

{{/* Arguments of every command of the operator: what it logs, where it serves, which hub is its own. */}}
{{- define "private-connect.whereabouts" -}}
- {{ printf "--log=%s" .Values.log.filter | quote }}
- {{ printf "--log-format=%s" .Values.log.format | quote }}
{{- with .Values.watchNamespaces }}
- {{ printf "--watch-namespaces=%s" (join "," .) | quote }}
{{- end }}
{{- if .Values.hub.allowInsecure }}
- --allow-insecure-hub
{{- end }}
{{- if .Values.embeddedHub.enabled }}
- --embedded-hub
{{- else }}
- {{ printf "--hub-url=%s" .Values.hub.url | quote }}
{{- if .Values.hub.apiKeySecret }}
- --hub-api-key-file=/etc/private-connect/hub/apiKey
{{- end }}
{{- if .Values.hub.caSecret }}
- --hub-ca-file=/etc/private-connect/ca/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{- define "private-connect.environment" -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
{{- /* A name that is there twice is none: extraEnv stands above proxy. */}}
{{- $own := list }}
{{- range .Values.extraEnv }}
{{- $own = append $own (upper .name) }}
{{- end }}
{{- $proxy := .Values.proxy }}
{{- range $name, $value := dict "HTTPS_PROXY" $proxy.httpsProxy "HTTP_PROXY" $proxy.httpProxy }}
{{- if and $value (not (has $name $own)) }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- $named := or $proxy.httpsProxy $proxy.httpProxy (has "HTTPS_PROXY" $own) (has "HTTP_PROXY" $own) (has "ALL_PROXY" $own) }}
{{- if and (or $named $proxy.noProxy) (not (has "NO_PROXY" $own)) }}
# What is inside the cluster is reached without a proxy; the operator adds the API server's address itself.
- name: NO_PROXY
  value: {{ printf ".svc,.cluster.local%s" (empty $proxy.noProxy | ternary "" (printf ",%s" $proxy.noProxy)) | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What every command of the operator has mounted: Secrets for the hub, and what the platform team adds. */}}
{{- define "private-connect.mounts" -}}
{{- if .Values.hub.apiKeySecret }}
- name: hub-key
  mountPath: /etc/private-connect/hub
  readOnly: true
{{- end }}
{{- if .Values.hub.caSecret }}
- name: hub-ca
  mountPath: /etc/private-connect/ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "private-connect.volumes" -}}
{{- if .Values.hub.apiKeySecret }}
- name: hub-key
  secret:
    secretName: {{ .Values.hub.apiKeySecret | quote }}
    defaultMode: 0440
{{- end }}
{{- if .Values.hub.caSecret }}
- name: hub-ca
  secret:
    secretName: {{ .Values.hub.caSecret | quote }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where Pods run, who they are there, how they look up names, and from where their image comes. */}}
{{- define "private-connect.placement" -}}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . | quote }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Host of embeddedHub.publicUrl, without a port. Nothing when it is an address: Ingresses and routes know names only, and one without
a name is for whatever reaches it.
*/}}
{{- define "private-connect.publicHost" -}}
{{- $host := regexReplaceAll ":[0-9]+$" (urlParse .Values.embeddedHub.publicUrl).host "" -}}
{{- if not (regexMatch "^(\\[.*\\]|[0-9.]+)$" $host) -}}
{{- $host -}}
{{- end -}}
{{- end -}}

{{/* How many proxies stand in front of the embedded hub: the Ingress or the Gateway that the chart makes is one. */}}
{{- define "private-connect.trustedProxies" -}}
{{- $hub := .Values.embeddedHub -}}
{{- max (int $hub.trustedProxies) (ternary 1 0 (or $hub.ingress.enabled $hub.gateway.enabled)) -}}
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
{{- $hub := . -}}
{{- range $way := list "ingress" "gateway" -}}
{{- if (index $hub $way).enabled -}}
{{- if not $hub.enabled -}}
{{- fail (printf "embeddedHub.%s.enabled needs embeddedHub.enabled" $way) -}}
{{- end -}}
{{- if not $hub.publicUrl -}}
{{- fail (printf "embeddedHub.%s.enabled needs embeddedHub.publicUrl: its host is the one that is served" $way) -}}
{{- end -}}
{{- if not (has (urlParse $hub.publicUrl).path (list "" "/")) -}}
{{- fail (printf "embeddedHub.publicUrl must have no path with embeddedHub.%s.enabled: the hub serves at /" $way) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .gateway.enabled (not .gateway.parentRefs) -}}
{{- fail "embeddedHub.gateway.enabled needs embeddedHub.gateway.parentRefs: the Gateways that the route is for" -}}
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
    'nothing of namespace ' + request.namespace + ' may be shared: use another namespace, or ask a cluster administrator'
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
