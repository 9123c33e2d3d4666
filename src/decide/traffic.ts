import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import { durationMs, durationText } from '../api/schema.ts';
import { upstreamSectionOf } from '../api/vendor-section.ts';
import type { Protocol } from '../model/endpoint.ts';
import type { KeyPair } from '../model/key-pair.ts';
import type { HealthCheck, HostHeader, LoadBalancing, Scheme, Traffic } from '../model/upstream.ts';

export const SCHEME_DEFAULT: Scheme = 'HTTP';

/** Schemes by `appProtocol` of a Service's port: IANA service names and the names that Kubernetes defines. */
const SCHEMES: Readonly<Record<string, Scheme>> = {
  https: 'HTTPS',
  grpc: 'GRPC',
  grpcs: 'GRPCS',
  // HTTP/2 without TLS: gateways based on nginx use it for upstreams only with gRPC.
  'kubernetes.io/h2c': 'GRPC',
  'kubernetes.io/wss': 'HTTPS',
};

/** The transport protocol for upstreams of this scheme. */
export function protocolOf(scheme: Scheme | undefined): Protocol {
  return scheme === 'UDP' ? 'UDP' : 'TCP';
}

/** The scheme for an `appProtocol`, compared case-insensitively as its RFC requires; HTTP by default. */
export function schemeOf(appProtocol: string | undefined): Scheme {
  const name = (appProtocol ?? '').toLowerCase();
  return Object.hasOwn(SCHEMES, name) ? (SCHEMES[name] ?? SCHEME_DEFAULT) : SCHEME_DEFAULT;
}

/**
 * The traffic settings of `spec` for a gateway that reads `section`. `clientCertificate`: the resolved reference in
 * `spec.tls`.
 */
export function trafficOf(
  spec: GatewayUpstreamSpec,
  section: string,
  clientCertificate: KeyPair | undefined,
): Traffic {
  const { timeouts, keepalive, healthCheck, tls } = spec;
  return present({
    scheme: spec.scheme ?? SCHEME_DEFAULT,
    loadBalancing: toLoadBalancing(spec.loadBalancing),
    hostHeader: toHostHeader(spec.hostHeader),
    timeouts: timeouts && {
      connectMs: durationMs(timeouts.connect),
      sendMs: durationMs(timeouts.send),
      readMs: durationMs(timeouts.read),
    },
    retries: spec.retries,
    retryTimeoutMs: spec.retryTimeout === undefined ? undefined : durationMs(spec.retryTimeout),
    keepalive: keepalive && {
      size: keepalive.size,
      idleTimeoutMs: durationMs(keepalive.idleTimeout),
      requests: keepalive.requests,
    },
    healthCheck: healthCheck && toHealthCheck(healthCheck),
    tls: tls && present({ clientCertificate, verify: tls.verify }),
    description: spec.description,
    overrides: upstreamSectionOf(spec, section)?.overrides,
  });
}

type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** `value` without undefined members, because an unset field must equal an absent one. */
function present<T extends object>(value: T): Present<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Present<T>;
}

function toLoadBalancing(spec: GatewayUpstreamSpec['loadBalancing']): LoadBalancing {
  if (spec === undefined) return { type: 'RoundRobin' };
  if (spec.type !== 'ConsistentHash') return { type: spec.type };
  return {
    type: 'ConsistentHash',
    hashOn: spec.hashOn ?? 'Vars',
    ...(spec.key === undefined ? {} : { key: spec.key }),
  };
}

function toHostHeader(spec: GatewayUpstreamSpec['hostHeader']): HostHeader | undefined {
  if (spec?.type === 'Node') return { type: 'Node' };
  if (spec?.type === 'Rewrite' && spec.value !== undefined) return { type: 'Rewrite', value: spec.value };
  return undefined;
}

function toHealthCheck({ active, passive }: NonNullable<GatewayUpstreamSpec['healthCheck']>): HealthCheck {
  const { timeout, healthy, unhealthy, ...rest } = active;
  return present({
    active: present({
      ...rest,
      timeoutMs: durationMs(timeout),
      healthy: withSeconds(healthy),
      unhealthy: withSeconds(unhealthy),
    }),
    passive,
  });
}

function withSeconds<T extends { readonly interval: string }>({ interval, ...rest }: T) {
  return { ...rest, intervalSeconds: durationMs(interval) / 1000 };
}

/** The spec fields that produce `traffic` (the inverse of `trafficOf`), without the Secret of a client certificate. */
export function specOfTraffic(traffic: Traffic, section: string): Partial<GatewayUpstreamSpec> {
  const { scheme, loadBalancing, timeouts, retryTimeoutMs, keepalive, healthCheck, tls } = traffic;
  return present({
    loadBalancing: loadBalancing.type === 'RoundRobin' ? undefined : loadBalancing,
    scheme: scheme === SCHEME_DEFAULT ? undefined : scheme,
    hostHeader: traffic.hostHeader,
    timeouts: timeouts && {
      connect: durationText(timeouts.connectMs),
      send: durationText(timeouts.sendMs),
      read: durationText(timeouts.readMs),
    },
    retries: traffic.retries,
    retryTimeout: retryTimeoutMs === undefined ? undefined : durationText(retryTimeoutMs),
    keepalive: keepalive && {
      size: keepalive.size,
      idleTimeout: durationText(keepalive.idleTimeoutMs),
      requests: keepalive.requests,
    },
    healthCheck: healthCheck && specOfHealthCheck(healthCheck),
    tls: tls && { verify: tls.verify },
    description: traffic.description,
    [section]: traffic.overrides && { overrides: traffic.overrides },
  }) as object as Partial<GatewayUpstreamSpec>;
}

function specOfHealthCheck({ active, passive }: HealthCheck) {
  const { timeoutMs, healthy, unhealthy, ...rest } = active;
  return present({
    active: {
      ...rest,
      timeout: durationText(timeoutMs),
      healthy: withInterval(healthy),
      unhealthy: withInterval(unhealthy),
    },
    passive,
  });
}

function withInterval<T extends { readonly intervalSeconds: number }>({ intervalSeconds, ...rest }: T) {
  return { ...rest, interval: `${intervalSeconds}s` };
}
