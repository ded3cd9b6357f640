{{- define "trigate.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "trigate.selector" -}}
app: {{ include "trigate.name" . }}
{{- end }}

{{- define "trigate.labels" -}}
{{ include "trigate.selector" . }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "trigate.secret" -}}
{{ .Values.secrets.existing | default (include "trigate.name" .) }}
{{- end }}

{{- define "trigate.metadata" -}}
metadata:
  name: {{ include "trigate.name" . }}
  labels:
    {{- include "trigate.labels" . | nindent 4 }}
{{- end }}
