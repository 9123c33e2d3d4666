{{- define "gateway-upstream-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters, so that the longest suffix still makes a name that every kind takes. */}}
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

{{/* Labels of the hooks' Pods: Service, PodDisruptionBudget and NetworkPolicy must not take them for the operator's. */}}
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

{{/* Where the Secrets of connections and the lease are. */}}
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

{{/* The values under `config` without those that are left empty: an absent key has a default, an empty one has none. */}}
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

{{/* What the containers of the operator and of its hooks have in common. */}}
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

{{/* What the Pods of the operator and of its hooks have in common. */}}
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
