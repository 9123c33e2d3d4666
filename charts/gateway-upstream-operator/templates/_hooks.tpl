{{/* A hook that failed stays until the next one, so that its log can be read. */}}
{{- define "gateway-upstream-operator.hookAnnotations" -}}
helm.sh/hook: {{ .hook }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: {{ default "before-hook-creation,hook-succeeded" .deletePolicy }}
{{- end }}

{{/*
A ServiceAccount that lives no longer than the hooks that use it, and its rights.
Takes `root`, `name`, `hook` (Helm's name of the moment), `rules` and, for rules in the operator's namespace, `ownRules`.
*/}}
{{- define "gateway-upstream-operator.hookAccount" -}}
{{- $root := .root }}
{{- $name := printf "%s-%s" (include "gateway-upstream-operator.fullname" $root) .name }}
{{- $annotations := include "gateway-upstream-operator.hookAnnotations" (dict "hook" .hook "weight" "-1") }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "gateway-upstream-operator.labels" $root | nindent 4 }}
  annotations:
    {{- $annotations | nindent 4 }}
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
    {{- $annotations | nindent 4 }}
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
    {{- $annotations | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
{{- with .ownRules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ include "gateway-upstream-operator.operatorNamespace" $root }}
  labels:
    {{- include "gateway-upstream-operator.labels" $root | nindent 4 }}
  annotations:
    {{- $annotations | nindent 4 }}
rules:
  {{- . | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ include "gateway-upstream-operator.operatorNamespace" $root }}
  labels:
    {{- include "gateway-upstream-operator.labels" $root | nindent 4 }}
  annotations:
    {{- $annotations | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end }}
{{- end }}

{{/*
A Job that runs the operator's program once.
Takes `root`, `name`, `account` (the `name` of a hookAccount), `hook`, `weight` and `args`.
*/}}
{{- define "gateway-upstream-operator.hookJob" -}}
{{- $root := .root }}
{{- $fullname := include "gateway-upstream-operator.fullname" $root }}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ printf "%s-%s" $fullname .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "gateway-upstream-operator.labels" $root | nindent 4 }}
  annotations:
    {{- include "gateway-upstream-operator.hookAnnotations" . | nindent 4 }}
    # A Helm that knows this annotation prints the log of a Job that failed.
    helm.sh/hook-output-log-policy: hook-failed
spec:
  backoffLimit: 2
  podFailurePolicy:
    rules:
      # Wrong arguments, or a person has to change something first: the same again would only take longer.
      - action: FailJob
        onExitCodes:
          operator: In
          values: [2, 3]
  # Well below Helm's own timeout of 5m, so that Helm says that the Job failed and not that it waited for nothing.
  activeDeadlineSeconds: 240
  template:
    metadata:
      labels:
        {{- include "gateway-upstream-operator.hookLabels" $root | nindent 8 }}
    spec:
      restartPolicy: Never
      serviceAccountName: {{ printf "%s-%s" $fullname .account }}
      {{- include "gateway-upstream-operator.pod" $root | nindent 6 }}
      containers:
        - name: {{ .name }}
          {{- include "gateway-upstream-operator.container" $root | nindent 10 }}
          # `kubectl describe` of the Pod then shows why it failed.
          terminationMessagePolicy: FallbackToLogsOnError
          args:
            {{- toYaml .args | nindent 12 }}
{{- end }}
