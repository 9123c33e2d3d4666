{{- define "gateway-upstream-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters, so that the name with the longest suffix is valid for every kind. */}}
{{- define "gateway-upstream-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "gateway-upstream-operator.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "gateway-upstream-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gateway-upstream-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gateway-upstream-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "gateway-upstream-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of the hooks' Pods, which Service, PodDisruptionBudget and NetworkPolicy must not select. */}}
{{- define "gateway-upstream-operator.hookLabels" -}}
app.kubernetes.io/name: {{ include "gateway-upstream-operator.name" . }}-hook
app.kubernetes.io/instance: {{ .Release.Name }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "gateway-upstream-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "gateway-upstream-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The namespace of the Lease and of the Secrets that GatewayConnections refer to. */}}
{{- define "gateway-upstream-operator.operatorNamespace" -}}
{{- default .Release.Namespace .Values.config.operatorNamespace }}
{{- end }}

{{- define "gateway-upstream-operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The values under `config` that are not empty: the operator uses its default for an absent key and rejects an empty one. */}}
{{- define "gateway-upstream-operator.config" -}}
{{- $config := dict "roleName" (include "gateway-upstream-operator.fullname" .) }}
{{- range $key, $value := .Values.config }}
{{- if not (kindIs "invalid" $value) }}
{{- if not (and (kindIs "string" $value) (eq $value "")) }}
{{- $_ := set $config $key $value }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* The fields that the containers of the operator and of its hooks share. */}}
{{- define "gateway-upstream-operator.container" -}}
image: {{ include "gateway-upstream-operator.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [node, /app/dist/main.js]
env:
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}

{{/* The fields that the Pods of the operator and of its hooks share. */}}
{{- define "gateway-upstream-operator.pod" -}}
automountServiceAccountToken: true
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
