{{/* Generated from src/kube/rbac.ts by `npm run generate`. */}}
{{- define "gateway-upstream-operator.rules.everywhere" -}}
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayconnections
  verbs:
    - get
    - list
    - watch
    - patch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayconnections/status
  verbs:
    - patch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreamsets
  verbs:
    - list
    - watch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreamsets/status
  verbs:
    - patch
- apiGroups:
    - ""
  resources:
    - namespaces
  verbs:
    - list
    - watch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreams
  verbs:
    - get
    - list
    - watch
    - patch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreams/status
  verbs:
    - patch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreams
  verbs:
    - create
    - delete
- apiGroups:
    - ""
  resources:
    - services
  verbs:
    - list
    - watch
- apiGroups:
    - discovery.k8s.io
  resources:
    - endpointslices
  verbs:
    - list
    - watch
- apiGroups:
    - gateway.networking.k8s.io
  resources:
    - referencegrants
  verbs:
    - list
    - watch
- apiGroups:
    - events.k8s.io
  resources:
    - events
  verbs:
    - create
{{- end }}

{{- define "gateway-upstream-operator.rules.own" -}}
- apiGroups:
    - ""
  resources:
    - secrets
  verbs:
    - list
    - watch
- apiGroups:
    - coordination.k8s.io
  resources:
    - leases
  verbs:
    - get
    - update
  resourceNames:
    - "{{ .Values.config.leaderElection.leaseName }}"
- apiGroups:
    - coordination.k8s.io
  resources:
    - leases
  verbs:
    - create
{{- end }}

{{- define "gateway-upstream-operator.rules.ownWithoutLease" -}}
- apiGroups:
    - ""
  resources:
    - secrets
  verbs:
    - list
    - watch
{{- end }}

{{- define "gateway-upstream-operator.rules.clusterScoped" -}}
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayconnections
  verbs:
    - get
    - list
    - watch
    - patch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayconnections/status
  verbs:
    - patch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreamsets
  verbs:
    - list
    - watch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreamsets/status
  verbs:
    - patch
- apiGroups:
    - ""
  resources:
    - namespaces
  verbs:
    - list
    - watch
{{- end }}

{{- define "gateway-upstream-operator.rules.namespace" -}}
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreams
  verbs:
    - get
    - list
    - watch
    - patch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreams/status
  verbs:
    - patch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreams
  verbs:
    - create
    - delete
- apiGroups:
    - ""
  resources:
    - services
  verbs:
    - list
    - watch
- apiGroups:
    - discovery.k8s.io
  resources:
    - endpointslices
  verbs:
    - list
    - watch
- apiGroups:
    - gateway.networking.k8s.io
  resources:
    - referencegrants
  verbs:
    - list
    - watch
- apiGroups:
    - events.k8s.io
  resources:
    - events
  verbs:
    - create
{{- end }}

{{- define "gateway-upstream-operator.rules.secrets" -}}
- apiGroups:
    - ""
  resources:
    - secrets
  verbs:
    - list
    - watch
{{- end }}

{{- define "gateway-upstream-operator.rules.events" -}}
- apiGroups:
    - events.k8s.io
  resources:
    - events
  verbs:
    - create
{{- end }}

{{- define "gateway-upstream-operator.rules.crds" -}}
- apiGroups:
    - apiextensions.k8s.io
  resources:
    - customresourcedefinitions
  resourceNames:
    - gatewayconnections.gatewayupstream.dev
    - gatewayupstreams.gatewayupstream.dev
    - gatewayupstreamsets.gatewayupstream.dev
    - serviceregistries.gatewayupstream.dev
  verbs:
    - get
    - patch
- apiGroups:
    - apiextensions.k8s.io
  resources:
    - customresourcedefinitions
  verbs:
    - create
{{- end }}

{{- define "gateway-upstream-operator.rules.nodes" -}}
- apiGroups:
    - ""
  resources:
    - nodes
  verbs:
    - list
    - watch
{{- end }}

{{- define "gateway-upstream-operator.rules.registries" -}}
- apiGroups:
    - gatewayupstream.dev
  resources:
    - serviceregistries
  verbs:
    - list
    - watch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - serviceregistries/status
  verbs:
    - patch
{{- end }}

{{- define "gateway-upstream-operator.rules.endpoints" -}}
- apiGroups:
    - ""
  resources:
    - endpoints
  verbs:
    - list
    - watch
{{- end }}

{{- define "gateway-upstream-operator.rules.uninstall" -}}
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreams
  verbs:
    - get
    - list
    - patch
    - delete
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayconnections
  verbs:
    - get
    - list
    - patch
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayupstreamsets
  verbs:
    - list
    - patch
    - delete
- apiGroups:
    - gatewayupstream.dev
  resources:
    - serviceregistries
  verbs:
    - list
- apiGroups:
    - gatewayupstream.dev
  resources:
    - gatewayconnections/status
    - gatewayupstreams/status
    - gatewayupstreamsets/status
    - serviceregistries/status
  verbs:
    - patch
{{- end }}

{{- define "gateway-upstream-operator.rules.uninstallLease" -}}
- apiGroups:
    - coordination.k8s.io
  resources:
    - leases
  resourceNames:
    - "{{ .Values.config.leaderElection.leaseName }}"
  verbs:
    - get
    - update
    - patch
    - delete
{{- end }}
