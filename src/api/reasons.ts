/**
 * The closed set of reasons: one word each, used as condition reason, Event reason and metric label. The text says
 * what it means and what to do; the reference documentation is made from it.
 */
export const REASONS = {
  // Accepted
  Accepted: 'The spec is valid and the connection allows it.',
  InvalidSpec: 'The spec breaks a rule that the message names. Change the spec.',
  ConnectionNotFound:
    'There is no GatewayConnection of that name. Create it, or refer to another one in a new object.',
  NamespaceNotAllowed:
    'The connection does not allow this namespace. The platform team can add it to `spec.allowedNamespaces`.',
  IdNotAllowed:
    'The upstream id does not begin with the prefix of this namespace, or is no id that the gateway takes. Choose another id, or the platform team sets `tenantPolicy.upstreamIds: Any`.',
  IdTaken: 'Another GatewayUpstream has this upstream id already; the message names it. Choose another id.',
  StaticAddressesDenied:
    'The connection does not allow places outside the cluster: `addresses`, Services of type ExternalName, a `dnsSuffix` of its own; or one of them is a name inside the cluster. The platform team can set `tenantPolicy.staticAddresses: Allow`; nothing allows names inside the cluster, or without a dot.',
  AddressNotAllowed:
    'An address is a loopback, link-local, unspecified, multicast or broadcast one, or is in `addresses.deny` of the connection. Use another address; the platform team can allow it in `addresses.allow` of the GatewayConnection.',
  OverridesDenied:
    'The connection does not allow `apisix.overrides`. The platform team can set `tenantPolicy.overrides: Allow`.',
  ProbePortDenied:
    "Health probes would go to another port of machines that are not the tenant's: nodes of the cluster, a load balancer, or Pods of another namespace. Remove `healthCheck.active.port`, or the platform team sets `tenantPolicy.probePorts: Any`.",
  UnsupportedField:
    'The version of the gateway cannot take a field of the spec, or would not heed it; the message names both. The gateway keeps what it has. Change the spec, or upgrade the gateway, which is noticed with its next list.',
  AdoptionDenied:
    'The connection does not allow to take over upstreams that others made, or to keep their nodes. The platform team can set `tenantPolicy.adoption: Allow`.',
  // ResolvedRefs
  ResolvedRefs: 'Every reference leads somewhere.',
  ServiceNotFound: 'The Service does not exist. Create it or correct the name.',
  PortNotFound: 'The Service has no such port. The message lists the ports that it has.',
  UnsupportedProtocol: 'The port exists for another protocol than the scheme uses.',
  NodePortMissing:
    'With addressing mode Node the Service needs a NodePort: make it of type NodePort or LoadBalancer, or choose another mode.',
  NoClusterIP:
    'With addressing mode ClusterIP the Service needs an address of the IP family that is used; a headless one has none. Choose another mode.',
  NoLoadBalancerAddress:
    'With addressing mode LoadBalancer the status of the Service names no address of the IP family that is used: it is of another type, or nobody gave it one yet.',
  RefNotPermitted:
    "The reference leads into another namespace, and no ReferenceGrant there permits it; or to a Secret in a namespace that `secretNamespaces` of the operator's configuration does not name.",
  SecretNotFound:
    'A Secret with a key or a certificate does not exist, lacks one of them, or they do not belong together. Of a GatewayUpstream the gateway keeps what it has.',
  SourceUnavailable:
    'What the reference leads to is not known yet, or cannot be read. The gateway keeps what it has.',
  // Programmed
  Programmed: 'The gateway holds exactly this, by its own answer.',
  Unauthorized:
    'The gateway refused the admin key or the address of the operator. Correct the Secret, or `allow_admin` in the gateway.',
  Rejected:
    'The gateway refused the upstream with the words in the message, or took it and holds something else than was written.',
  GatewayUnavailable: 'The gateway could not be reached or did not answer usefully. It is tried again.',
  NotOwned: 'The gateway has an upstream of this id that this object does not own. It is left untouched.',
  UpstreamNotFound:
    'With `spec.manage: Nodes`: the gateway has no upstream of this id. Its owner creates it; it is then picked up by itself.',
  UsesDiscovery:
    'With `spec.manage: Nodes`: the upstream has no nodes to keep, since the gateway finds them by itself. Its owner replaces `service_name` and `discovery_type` by `nodes`.',
  Observed:
    '`spec.syncPolicy` is Observe and the gateway differs: nothing is written. `status.plan` says what would be; set Sync to have it done.',
  FinalizerRefused:
    'The API server, an admission policy or a webhook refuses the finalizer of the operator, with the words in the message. Nothing new is written to the gateway without it. Allow the ServiceAccount of the operator to patch `metadata.finalizers`.',
  InUse: 'Something refers to it, so it is not deleted yet; the message names what.',
  // Ready
  Ready: 'Accepted, resolved and programmed.',
  Pending: 'Not processed yet. The message says what to check, or what it waits for.',
  OperatorUninstalled:
    'The operator was uninstalled, so nothing keeps this object up to date. What the gateway has stays as it is. Install the operator again, or delete the object.',
  PermissionMissing:
    'The operator lacks a right in the cluster, so that what is said here may be out of date. The message names the right and the role that should grant it.',
  NoReadyEndpoints: 'Programmed, but no endpoint is ready: the gateway has nothing to send traffic to.',
  RemovalHeld:
    'Most endpoints went away at once and nothing explains it, so they stay in the gateway for a while (`spec.removalGuard`). Look at the Pods; the message says how to let them go now.',
  NoWeight: 'Every backend has weight 0: the gateway has nothing to send traffic to.',
  // GatewayConnection
  Reachable: 'The gateway answers.',
  Authorized: 'The gateway takes the key.',
  ListTooLarge:
    'The gateway has more upstreams than the operator can list. Upstreams are still written and deleted, one by one. Delete those that nothing uses, or divide them between gateways.',
  // Metrics only
  InternalError: 'A defect of the operator; its log has the details. It is tried again.',
  // GatewayUpstreamSet
  NameTaken:
    'A GatewayUpstream of the name that a set would give to its own is not of this set. It is left alone. Delete it, or hand it over by the label `gatewayupstream.dev/set`.',
  MemberRefused:
    'The API server refuses a GatewayUpstream of a set with the words in the message. Correct `spec.template`.',
  PruningHeld:
    'More GatewayUpstreams of a set would be deleted at once than `spec.maxPrunePercent` allows, so they stay. Look at selectors, `spec.ports` and the labels of the Services; the message says how to let them go.',
  // Events only
  Repaired: 'Somebody changed or deleted the upstream in the gateway; it was written again.',
  Adopted: 'An upstream that nobody owned was taken over; the message says what changed with that.',
  Orphaned: 'The object is gone, and its upstream stays in the gateway.',
  Deleted: 'An upstream that belonged to a vanished object was deleted from the gateway.',
} as const satisfies Record<string, string>;

export type Reason = keyof typeof REASONS;
