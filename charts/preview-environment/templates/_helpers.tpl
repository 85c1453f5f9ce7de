{{/* Labels of everything in this chart. */}}
{{- define "preview.labels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Name of the share's object. */}}
{{- define "preview.share" -}}
{{ .Values.share.name | default .Release.Name }}
{{- end }}
