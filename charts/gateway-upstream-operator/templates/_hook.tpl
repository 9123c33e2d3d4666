{{/*
A Job that runs the operator's program once, with a ServiceAccount of its own that lives no longer than the hook.
Takes `root`, `name`, `hook` (Helm's name of the moment), `rules` and `args`.
*/}}
{{- define "gateway-upstream-operator.hook" -}}
{{- $root := .root }}
{{- $name := printf "%s-%s" (include "gateway-upstream-operator.fullname" $root) .name }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "gateway-upstream-operator.labels" $root | nindent 4 }}
  annotations:
    {{- include "gateway-upstream-operator.hookAnnotations" (dict "hook" .hook "weight" "-1") | nindent 4 }}
automountServiceAccountToken: false
{{- if $root.Values.rbac.create }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
  labels:
    {{- include "gateway-upstream-operator.labels" $root | nindent 4 }}
  annotations:
    {{- include "gateway-upstream-operator.hookAnnotations" (dict "hook" .hook "weight" "-1") | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "gateway-upstream-operator.labels" $root | nindent 4 }}
  annotations:
    {{- include "gateway-upstream-operator.hookAnnotations" (dict "hook" .hook "weight" "-1") | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "gateway-upstream-operator.labels" $root | nindent 4 }}
  annotations:
    {{- include "gateway-upstream-operator.hookAnnotations" (dict "hook" .hook "weight" "0") | nindent 4 }}
spec:
  backoffLimit: 2
  # Below Helm's own timeout of 5m, so that the Job says why and not Helm that it does not know.
  activeDeadlineSeconds: 285
  template:
    metadata:
      labels:
        {{- include "gateway-upstream-operator.hookLabels" $root | nindent 8 }}
    spec:
      restartPolicy: Never
      serviceAccountName: {{ $name }}
      {{- include "gateway-upstream-operator.pod" $root | nindent 6 }}
      containers:
        - name: {{ .name }}
          {{- include "gateway-upstream-operator.container" $root | nindent 10 }}
          args:
            {{- toYaml .args | nindent 12 }}
{{- end }}

{{/* A hook that failed stays, so that its log can be read, until the next one. */}}
{{- define "gateway-upstream-operator.hookAnnotations" -}}
helm.sh/hook: {{ .hook }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
