{{/* The roles of the operator as a YAML list of `kind`, `name`, `namespace` and `rules` (a template in _rules.tpl). */}}
{{- define "gateway-upstream-operator.roles" -}}
{{- $fullname := include "gateway-upstream-operator.fullname" . }}
{{- $namespaces := .Values.config.namespaces }}
- kind: ClusterRole
  name: {{ $fullname }}
  rules: {{ ternary "clusterScoped" "everywhere" (gt (len $namespaces) 0) }}
- kind: Role
  name: {{ $fullname }}
  namespace: {{ include "gateway-upstream-operator.operatorNamespace" . }}
  rules: {{ ternary "own" "ownWithoutLease" .Values.config.leaderElection.enabled }}
{{- range .Values.config.secretNamespaces }}
- kind: Role
  name: {{ $fullname }}-secrets
  namespace: {{ . | quote }}
  rules: secrets
{{- end }}
{{- range uniq $namespaces }}
- kind: Role
  name: {{ $fullname }}-namespace
  namespace: {{ . | quote }}
  rules: namespace
{{- end }}
{{- /* Kubernetes takes Events about cluster-scoped objects in namespace default. */}}
{{- if and $namespaces (not (has "default" $namespaces)) }}
- kind: Role
  name: {{ $fullname }}-events
  namespace: default
  rules: events
{{- end }}
{{- end }}

{{/* The rules of one role. Parameters: `root` and `rules`. */}}
{{- define "gateway-upstream-operator.roleRules" -}}
{{- include (printf "gateway-upstream-operator.rules.%s" .rules) .root }}
{{- if and .root.Values.config.watchNodes (has .rules (list "everywhere" "clusterScoped")) }}
{{ include "gateway-upstream-operator.rules.nodes" .root }}
{{- end }}
{{- if and .root.Values.config.watchRegistries (has .rules (list "everywhere" "clusterScoped")) }}
{{ include "gateway-upstream-operator.rules.registries" .root }}
{{- end }}
{{- if and .root.Values.config.readEndpoints (has .rules (list "everywhere" "namespace")) }}
{{ include "gateway-upstream-operator.rules.endpoints" .root }}
{{- end }}
{{- end }}

{{/* The bindings of the roles. Parameters: `root`, and `annotations` (optional): those of a hook that empties the bindings. */}}
{{- define "gateway-upstream-operator.bindings" -}}
{{- $root := .root }}
{{- $annotations := .annotations }}
{{- range include "gateway-upstream-operator.roles" $root | fromYamlArray }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "gateway-upstream-operator.labels" $root | nindent 4 }}
  {{- with $annotations }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
{{- if $annotations }}
subjects: []
{{- else }}
subjects:
  - kind: ServiceAccount
    name: {{ include "gateway-upstream-operator.serviceAccountName" $root }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end }}
{{- end }}
