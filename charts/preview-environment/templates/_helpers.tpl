{{/* Labels of everything in this chart. */}}
{{- define "preview.labels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{/* Name of the share's object. */}}
{{- define "preview.share" -}}
{{ .Values.share.name | default .Release.Name }}
{{- end }}
