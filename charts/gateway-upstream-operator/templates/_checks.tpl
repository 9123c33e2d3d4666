{{/* Milliseconds of a duration such as 1m30s. */}}
{{- define "gateway-upstream-operator.durationMs" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 }}
{{- $total := 0.0 }}
{{- range regexFindAll "[0-9]+(\\.[0-9]+)?(ms|s|m|h)" . -1 }}
{{- $unit := regexFind "[a-z]+$" . }}
{{- $total = addf $total (mulf (trimSuffix $unit . | float64) (get $units $unit)) }}
{{- end }}
{{- $total }}
{{- end }}

{{/*
Fails the rendering with all problems that values.schema.json cannot report well: Helm prints patterns without an explanation, and a
schema cannot compare two values.
*/}}
{{- define "gateway-upstream-operator.checks" -}}
{{- $problems := list }}
{{- $config := .Values.config }}
{{- $lease := $config.leaderElection }}

{{- $durations := list
  (list "config.resyncInterval" $config.resyncInterval 1000.0)
  (list "config.requestTimeout" $config.requestTimeout 100.0)
  (list "config.permissionCheckInterval" $config.permissionCheckInterval 1000.0)
  (list "config.leaderElection.leaseDuration" $lease.leaseDuration 1000.0)
  (list "config.leaderElection.renewDeadline" $lease.renewDeadline 100.0)
  (list "config.leaderElection.retryPeriod" $lease.retryPeriod 100.0)
}}
{{- $validDurations := true }}
{{- range $durations }}
{{- $ms := include "gateway-upstream-operator.durationMs" (index . 1) | float64 }}
{{- $isDuration := regexMatch "^([0-9]{1,9}(\\.[0-9]{1,3})?m?s|[0-9]{1,6}(\\.[0-9]{1,3})?[mh])+$" (index . 1) }}
{{- if or (not $isDuration) (lt $ms (index . 2)) (gt $ms 86400000.0) }}
{{- $validDurations = false }}
{{- $problems = append $problems (printf "%s: %q is not a duration from %dms to 24h: set it to a value such as 500ms, 10s or 1m30s" (index . 0) (index . 1) (index . 2 | int)) }}
{{- end }}
{{- end }}
{{- if $validDurations }}
{{- $leaseMs := include "gateway-upstream-operator.durationMs" $lease.leaseDuration | float64 }}
{{- $renewMs := include "gateway-upstream-operator.durationMs" $lease.renewDeadline | float64 }}
{{- $retryMs := include "gateway-upstream-operator.durationMs" $lease.retryPeriod | float64 }}
{{- $requestMs := include "gateway-upstream-operator.durationMs" $config.requestTimeout | float64 }}
{{- if and $lease.enabled (ge (addf $renewMs $requestMs) $leaseMs) }}
{{- $problems = append $problems (printf "config.leaderElection.leaseDuration: %s must be longer than renewDeadline (%s) plus config.requestTimeout (%s)" $lease.leaseDuration $lease.renewDeadline $config.requestTimeout) }}
{{- end }}
{{- if gt (mulf 2 $retryMs) $renewMs }}
{{- $problems = append $problems (printf "config.leaderElection.renewDeadline: %s must be at least twice retryPeriod (%s)" $lease.renewDeadline $lease.retryPeriod) }}
{{- end }}
{{- end }}
{{- if and (not $lease.enabled) (gt (int .Values.replicas) 1) }}
{{- $problems = append $problems (printf "replicas: %d replicas without leader election would overwrite each other's changes: set replicas to 1 or config.leaderElection.enabled to true" (int .Values.replicas)) }}
{{- end }}

{{- $names := dict "config.operatorNamespace" $config.operatorNamespace }}
{{- range $index, $name := $config.namespaces }}
{{- $_ := set $names (printf "config.namespaces[%d]" $index) $name }}
{{- end }}
{{- range $index, $name := $config.secretNamespaces }}
{{- $_ := set $names (printf "config.secretNamespaces[%d]" $index) $name }}
{{- if and $config.namespaces (not (has $name $config.namespaces)) }}
{{- $problems = append $problems (printf "config.secretNamespaces: %q is missing from config.namespaces: add it there, because the operator watches no other namespace" $name) }}
{{- end }}
{{- end }}
{{- if ne (len $config.secretNamespaces) (len (uniq $config.secretNamespaces)) }}
{{- $problems = append $problems "config.secretNamespaces must not contain a namespace twice" }}
{{- end }}
{{- range $key, $name := $names }}
{{- if and $name (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $name)) }}
{{- $problems = append $problems (printf "%s: %q is not a valid namespace name: use at most 63 lowercase letters, digits and \"-\"" $key $name) }}
{{- end }}
{{- end }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$" $lease.leaseName) }}
{{- $problems = append $problems (printf "config.leaderElection.leaseName: %q is not a valid name: use lowercase letters, digits, \"-\" and \".\"" $lease.leaseName) }}
{{- end }}
{{- if and $config.clusterId (not (regexMatch "^\\S{1,64}$" $config.clusterId)) }}
{{- $problems = append $problems (printf "config.clusterId: %q must be at most 64 characters without spaces" $config.clusterId) }}
{{- end }}
{{- if not (regexMatch "^([a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$" $config.ops.host) }}
{{- $problems = append $problems (printf "config.ops.host: %q must be an IP address or a host name without a port, for example 0.0.0.0" $config.ops.host) }}
{{- end }}
{{- if or (not (regexMatch "^[0-9]{1,5}$" (toString $config.ops.port))) (lt (int $config.ops.port) 1) (gt (int $config.ops.port) 65535) }}
{{- $problems = append $problems (printf "config.ops.port: %q must be a port from 1 to 65535" (toString $config.ops.port)) }}
{{- end }}
{{- if and .Values.image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .Values.image.digest)) }}
{{- $problems = append $problems (printf "image.digest: %q must be \"sha256:\" followed by 64 lowercase hexadecimal digits" .Values.image.digest) }}
{{- end }}

{{- with .Values.defaultConnection }}
{{- if .enabled }}
{{- if not (regexMatch "^https?://[^/@?#\\s]+(/[^?#\\s@]*)?$" .apisix.adminUrl) }}
{{- $problems = append $problems (printf "defaultConnection.apisix.adminUrl: %q must be an HTTP or HTTPS URL without credentials, query or fragment, for example http://apisix-admin.apisix:9180" .apisix.adminUrl) }}
{{- end }}
{{- if and .apisix.adminKey.value .apisix.adminKey.existingSecret.name }}
{{- $problems = append $problems "defaultConnection.apisix.adminKey: value and existingSecret.name are both set: remove one of them" }}
{{- end }}
{{- if not (or .apisix.adminKey.value .apisix.adminKey.existingSecret.name) }}
{{- $problems = append $problems "defaultConnection.apisix.adminKey: set existingSecret.name to the name of the Secret that contains the admin key, or value to the key itself" }}
{{- end }}
{{- if not (regexMatch "^[a-zA-Z0-9._-]{0,32}$" .idPrefix) }}
{{- $problems = append $problems (printf "defaultConnection.idPrefix: %q must be at most 32 letters, digits, \".\", \"_\" and \"-\"" .idPrefix) }}
{{- end }}
{{- with .allowedNamespaces }}
{{- if and .all (or .names .match .selector) }}
{{- $problems = append $problems "defaultConnection.allowedNamespaces: all: true already allows every namespace: set all to false to restrict them" }}
{{- end }}
{{- end }}
{{- if and .apisix.tls.insecureSkipVerify .apisix.tls.caSecretRef }}
{{- $problems = append $problems "defaultConnection.apisix.tls: insecureSkipVerify disables the verification that caSecretRef is for: remove one of them" }}
{{- end }}
{{- end }}
{{- end }}

{{- if $problems }}
{{- fail (printf "\n- %s\n" (join "\n- " $problems)) }}
{{- end }}
{{- end }}
