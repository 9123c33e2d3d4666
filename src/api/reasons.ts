/**
 * All reasons. Each is used as condition reason, Event reason and metric label. The text states what the reason means and
 * what to do; docs/reasons.md is generated from it.
 */
export const REASONS = {
  // Accepted
  Accepted: 'The spec is valid and the GatewayConnection allows it. No action is needed.',
  InvalidSpec: 'The spec violates a rule; the message names the rule. Correct the spec.',
  ConnectionNotFound:
    'The GatewayConnection does not exist. Create it, or create a new GatewayUpstream with another `spec.connectionRef`, which is immutable.',
  NamespaceNotAllowed:
    'The GatewayConnection does not allow this namespace. Ask the platform team to add it to `spec.allowedNamespaces`.',
  IdNotAllowed:
    'The upstream id does not start with the prefix of this namespace, or the gateway does not support it. Create a new GatewayUpstream with another `spec.upstreamId`, which is immutable, or ask the platform team to set `tenantPolicy.upstreamIds: Any`.',
  IdTaken:
    'Another GatewayUpstream already uses this upstream id; the message names it. Create a new GatewayUpstream with another `spec.upstreamId`, which is immutable.',
  StaticAddressesDenied:
    'The GatewayConnection does not allow addresses outside the cluster (`addresses`, Services of type ExternalName, a custom `dnsSuffix`), or one of them is a name inside the cluster. Use `serviceRef`, or ask the platform team to set `tenantPolicy.staticAddresses: Allow`. Names inside the cluster and names without a dot are never allowed.',
  AddressNotAllowed:
    'An address is a loopback, link-local, unspecified, multicast or broadcast address, or it is in `addresses.deny` of the GatewayConnection or ServiceRegistry. Use another address, or ask the platform team to allow it in `addresses.allow` of the GatewayConnection, and of the ServiceRegistry for its instances.',
  OverridesDenied:
    'The GatewayConnection does not allow `apisix.overrides`. Remove them, or ask the platform team to set `tenantPolicy.overrides: Allow`.',
  ProbePortDenied:
    'Health probes would use another port of machines that the tenant does not own: cluster nodes, a load balancer, or Pods in another namespace. Remove `healthCheck.active.port`, or ask the platform team to set `tenantPolicy.probePorts: Any`.',
  UnsupportedField:
    'The gateway version does not support a field of the spec, or ignores it; the message names both. The current configuration in the gateway is unchanged. Change the spec or upgrade the gateway. The operator detects an upgrade when it next lists the upstreams of the gateway.',
  AdoptionDenied:
    'The GatewayConnection does not allow `adoptionPolicy: IfUnowned` or `manage: Nodes`, which change upstreams that other clients created. Remove the field, or ask the platform team to set `tenantPolicy.adoption: Allow`.',
  // ResolvedRefs
  ResolvedRefs: 'All references are resolved. No action is needed.',
  ServiceNotFound: 'The Service does not exist. Create it or correct the reference.',
  PortNotFound: 'The Service has no such port; the message lists its ports. Correct the port.',
  UnsupportedProtocol:
    'The protocol of the port does not match `spec.scheme`. Use another port or another scheme.',
  NodePortMissing:
    'Addressing mode Node requires a NodePort, and the Service has none. Change its type to NodePort or LoadBalancer, or use another mode.',
  NoClusterIP:
    'Addressing mode ClusterIP requires a cluster IP of the selected IP family, and the Service has none; headless Services never have one. Use another mode.',
  NoLoadBalancerAddress:
    'Addressing mode LoadBalancer requires a load balancer address of the selected IP family, and the status of the Service has none. Check that the Service has type LoadBalancer and that its load balancer is provisioned, or use another mode.',
  RefNotPermitted:
    'The reference is to another namespace and no ReferenceGrant in that namespace permits it, or it is to a Secret in a namespace that `secretNamespaces` in the configuration of the operator does not include. Create the ReferenceGrant, or ask the platform team to add the namespace.',
  RegistryNotFound:
    'The ServiceRegistry does not exist, or its spec is not valid; the message says which. The current nodes in the gateway are unchanged. Create or correct the ServiceRegistry, or correct `registryRef`.',
  RegistryNotAllowed:
    'The ServiceRegistry does not allow this namespace, or the GatewayConnection does not allow the ServiceRegistry. Ask the platform team to add the namespace to `allowedNamespaces` of the ServiceRegistry, or the ServiceRegistry to `allowedRegistries` of the GatewayConnection.',
  RegistryServiceNotAllowed:
    'The ServiceRegistry does not allow this namespace to use the service. Use another service, or ask the platform team to allow it: with a pattern in `tenantPolicy.services` of the ServiceRegistry, or with its group in `nacos.groups`.',
  RegistryTypeMismatch:
    'A backend has options for another type of registry than that of its ServiceRegistry. The current nodes in the gateway are unchanged. Remove the options, or correct `registryRef`.',
  TooManyServices:
    'GatewayUpstreams of this namespace refer to more services of the registry than it allows for one namespace. The current nodes in the gateway are unchanged. Remove backends, or ask the platform team to raise `limits.servicesPerNamespace` of the ServiceRegistry.',
  TooManyInstances:
    'The backends of this object list more instances in registries than a gateway can use. The current nodes of the backends that grew most are unchanged; the other backends follow their endpoints. Register fewer instances, or divide the backends among several objects.',
  ServiceUnknownToRegistry:
    'The registry has not listed an instance of the service since the operator started to follow it. Register an instance, or correct the name of the service.',
  SecretNotFound:
    'A Secret with a key or a certificate does not exist, a value is missing in it, or certificate and key do not match. For a GatewayUpstream, the current configuration in the gateway is unchanged. Create or correct the Secret.',
  SourceUnavailable:
    'The operator cannot read the referenced object, or has not read it yet. The current nodes in the gateway are unchanged. The message names the cause.',
  // Programmed
  Programmed: 'The gateway confirmed this configuration. No action is needed.',
  Unauthorized:
    'The gateway rejected the admin key, or does not accept requests from the address of the operator. Correct the key in the Secret, or add the address to `allow_admin` in the configuration of the gateway. For a ServiceRegistry: the registry rejected the credentials, or they do not permit reading the services. Follow the remedy in the message.',
  Rejected:
    'The gateway rejected the upstream, or accepted it and then reported a different configuration. The message contains the answer of the gateway. Correct the spec, or find out what changes the upstream in the gateway.',
  GatewayUnavailable:
    'The gateway cannot be reached or did not give a usable answer. The operator retries. If it persists, follow the remedy in the message.',
  NotOwned:
    'The gateway already has an upstream with this id that does not belong to this object. The operator does not change it. Create a new GatewayUpstream with another `spec.upstreamId`, or take the upstream over with `adoptionPolicy: IfUnowned`.',
  UpstreamNotFound:
    'With `spec.manage: Nodes`: the gateway has no upstream with this id. Create the upstream in the gateway; the operator then writes its nodes.',
  UsesDiscovery:
    'With `spec.manage: Nodes`: the upstream uses service discovery of the gateway and has no nodes to manage. Replace `service_name` and `discovery_type` in the upstream with `nodes`.',
  Observed:
    '`spec.syncPolicy` is Observe and the gateway differs from the spec. The operator writes nothing; `status.plan` shows the changes. Set `syncPolicy: Sync` to apply them.',
  FinalizerRefused:
    'The API server, an admission policy or a webhook rejected the finalizer of the operator; the message contains the error. Without the finalizer the operator writes nothing new to the gateway. Allow the ServiceAccount of the operator to patch `metadata.finalizers`.',
  InUse:
    'The object is being deleted and is still in use: a route refers to the upstream, a GatewayUpstream refers to the GatewayConnection, or its gateway still has upstreams of the operator. The message names them. Remove that reference, or see [troubleshooting](troubleshooting.md#an-object-or-its-namespace-is-not-deleted).',
  // Ready
  Ready: 'All conditions that `Ready` depends on are true. No action is needed.',
  Pending:
    'The operator has not processed the object yet. The message names what it waits for, or what to check.',
  OperatorUninstalled:
    'The operator was uninstalled and no longer updates this object. The configuration in the gateway is unchanged. Install the operator again, or delete the object.',
  PermissionMissing:
    'The operator lacks a permission in the cluster, so this status can be out of date. Grant the permission; the message names it and the role that should contain it.',
  NoReadyEndpoints:
    'The gateway confirmed the configuration, but no endpoint is ready, so requests fail. Check the Pods if the workload is not scaled to zero on purpose.',
  RemovalHeld:
    'Many endpoints were lost at once without a known cause, so the removal guard keeps their nodes in the gateway for a limited time (`spec.removalGuard`). Check the Pods. The message contains the command that removes the nodes now.',
  NoWeight: 'Every backend has weight 0, so the gateway sends no traffic. Set the `weight` of a backend.',
  // GatewayConnection
  Reachable: 'The gateway or registry answers. No action is needed.',
  Authorized:
    'The gateway accepts the admin key, or the registry accepts the credentials. No action is needed.',
  ListTooLarge:
    'The gateway has more upstreams than the operator can list. The operator still writes and deletes upstreams one by one. Delete unused upstreams, or distribute the upstreams over several gateways.',
  // ServiceRegistry
  RegistryUnavailable:
    'No server of the registry gave a usable answer. The nodes from this registry stay in the gateway, and nodes of other backends still change. The operator retries. If the problem persists, follow the remedy in the message.',
  // Metrics only
  InternalError: 'A defect in the operator. The operator retries. Its log contains the details; report them.',
  // GatewayUpstreamSet
  NameTaken:
    'A GatewayUpstream with the name that a set needs exists and does not belong to the set. The operator does not change it. Delete it, or hand it over to the set with the label `gatewayupstream.dev/set`.',
  MemberRefused:
    'The API server rejected a GatewayUpstream of a set; the message contains the error. Correct `spec.template`.',
  PruningHeld:
    'More GatewayUpstreams of a set would be deleted at once than `spec.maxPrunePercent` allows, so none of them is deleted. Check the selectors, `spec.ports` and the labels of the Services. The message contains the command that allows the deletion.',
  // Events only
  Repaired:
    'Another client changed or deleted the upstream in the gateway, and the operator wrote it again. Find out which client changed it.',
  Adopted:
    'The operator took over an upstream that another client created. The message lists the changed fields.',
  Orphaned:
    'The object was deleted, and its upstream stays in the gateway. Delete the upstream in the gateway when it is no longer needed.',
  Deleted:
    'The operator deleted an orphaned upstream from the gateway: its GatewayUpstream no longer exists.',
} as const satisfies Record<string, string>;

export type Reason = keyof typeof REASONS;
