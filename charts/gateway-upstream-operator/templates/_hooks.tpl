{{/* Helm keeps a failed hook until the hook runs again, so that its log can be read. */}}
{{- define "gateway-upstream-operator.hookAnnotations" -}}
helm.sh/hook: {{ .hook }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: {{ default "before-hook-creation,hook-succeeded" .deletePolicy }}
{{- end }}

{{/*
A ServiceAccount that exists only while its hooks run, with its permissions.
Parameters: `root`, `name`, `hook` (when Helm runs it), `rules`, and `ownRules` (rules in the operator's namespace, optional).
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
A Job that runs a command of the operator once.
Parameters: `root`, `name`, `account` (the `name` of a hookAccount), `hook`, `weight` and `args`.
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
    # Helm versions that support this annotation print the log of a failed Job.
    helm.sh/hook-output-log-policy: hook-failed
spec:
  backoffLimit: 2
  podFailurePolicy:
    rules:
      # Exit codes for wrong arguments (2) and for a problem that a person must solve first (3). A retry would fail, too.
      - action: FailJob
        onExitCodes:
          operator: In
          values: [2, 3]
  # Shorter than Helm's timeout of 5m, so that Helm reports the failed Job and not a timeout.
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
          # Makes `kubectl describe pod` show why the Job failed.
          terminationMessagePolicy: FallbackToLogsOnError
          args:
            {{- toYaml .args | nindent 12 }}
{{- end }}
