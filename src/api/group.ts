export const GROUP = 'gatewayupstream.dev';
export const VERSION = 'v1alpha1';

/** Field manager, Event reporter and User-Agent of this program. */
export const OPERATOR = 'gateway-upstream-operator';

/** Keeps a GatewayUpstream until its upstream is gone from the gateway, or left there on purpose. */
export const UPSTREAM_FINALIZER = `${GROUP}/upstream-cleanup`;

/** Keeps a GatewayConnection while a GatewayUpstream refers to it. */
export const CONNECTION_FINALIZER = `${GROUP}/in-use`;

/** On the operator's Lease: the identity that asks its holder to finish and to hand it over. */
export const LEASE_SUCCESSOR_ANNOTATION = `${GROUP}/lease-successor`;

/** A time, RFC 3339: removals that the guard holds since then or longer may be written. */
export const ACCEPT_REMOVAL_ANNOTATION = `${GROUP}/accept-removal`;

/** On a GatewayUpstream: the GatewayUpstreamSet that made it. */
export const SET_LABEL = `${GROUP}/set`;

/** On a GatewayUpstream of a set: a digest of all that the set asked for when it applied it last. */
export const TEMPLATE_ANNOTATION = `${GROUP}/template`;

/** A time, RFC 3339: pruning that waits since then or longer may be done. */
export const ACCEPT_PRUNE_ANNOTATION = `${GROUP}/accept-prune`;
