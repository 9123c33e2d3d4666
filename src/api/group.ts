export const GROUP = 'gatewayupstream.dev';
export const VERSION = 'v1alpha1';

/** Used as field manager, Event reporter and User-Agent. */
export const OPERATOR = 'gateway-upstream-operator';

/** Keeps a GatewayUpstream until its upstream is deleted from the gateway or orphaned. */
export const UPSTREAM_FINALIZER = `${GROUP}/upstream-cleanup`;

/** Keeps a GatewayConnection while a GatewayUpstream refers to it. */
export const CONNECTION_FINALIZER = `${GROUP}/in-use`;

/** On the Lease of the operator: the identity that asks the leader to finish its writes and hand over the Lease. */
export const LEASE_SUCCESSOR_ANNOTATION = `${GROUP}/lease-successor`;

/** An RFC 3339 time: accepts removals that the removal guard started to postpone at or before it. */
export const ACCEPT_REMOVAL_ANNOTATION = `${GROUP}/accept-removal`;

/** On a GatewayUpstream: the GatewayUpstreamSet that created it. */
export const SET_LABEL = `${GROUP}/set`;

/** On a GatewayUpstream of a set: a digest of the content that the set last applied. */
export const TEMPLATE_ANNOTATION = `${GROUP}/template`;

/** An RFC 3339 time: accepts pruning that started to wait at or before it. */
export const ACCEPT_PRUNE_ANNOTATION = `${GROUP}/accept-prune`;
