import { interned } from '../runtime/interned.ts';

/**
 * The neutral model between discovery sources and gateway drivers. Plain data, no behaviour: everything here may
 * be compared, printed and kept.
 */

/** `namespace/name` of a namespaced object. */
export type ObjectKey = `${string}/${string}`;

export function objectKey(namespace: string, name: string): ObjectKey {
  return interned<ObjectKey>(`${namespace}/${name}`);
}

/** What `objectKey` was made from. */
export function splitKey(key: ObjectKey): { readonly namespace: string; readonly name: string } {
  const [namespace = '', name = ''] = key.split('/');
  return { namespace, name };
}

export type IpFamily = 'IPv4' | 'IPv6';
export type Scheme = 'HTTP' | 'HTTPS' | 'GRPC' | 'GRPCS' | 'TCP' | 'TLS' | 'UDP';
export type Protocol = 'TCP' | 'UDP';

/** One endpoint of a Service as the cluster states it; defaults of the API (`ready: null` is true, ...) are applied. */
export interface Endpoint {
  /** Canonical IP address, without brackets. */
  readonly address: string;
  readonly family: IpFamily;
  /** The port number of this endpoint; absent where its slice has no such port or the port has no number. */
  readonly port?: number | undefined;
  /** Whose address it is, as text: a dual-stack Pod has one endpoint per family. Absent where the slice does not say. */
  readonly target?: string | undefined;
  /** Name of the node that it is on; absent where the slice does not say. */
  readonly node?: string | undefined;
  readonly zone?: string | undefined;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
}

/** How a Service's port is reached by others than its endpoints' own addresses. */
export interface ServiceFront {
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  /** It has no address of its own: its name resolves to its endpoints. */
  readonly isHeadless: boolean;
  readonly clusterIps: readonly string[];
  /** What the status says of its load balancer: IP addresses or DNS names. */
  readonly loadBalancer: readonly string[];
  /** With externalTrafficPolicy Local a node serves only what it has endpoints of. */
  readonly isLocal: boolean;
  /** The Service's own port; absent where only its endpoints have it. */
  readonly port?: ServicePort;
}

export interface ServicePort {
  readonly name: string;
  readonly port: number;
  /** As the Service states it: TCP, UDP or SCTP. */
  readonly protocol: string;
  readonly nodePort?: number | undefined;
  /** What it speaks, in the words of Kubernetes: `https`, `kubernetes.io/h2c`, ... */
  readonly appProtocol?: string | undefined;
}

/** What is kept of a node of the cluster. */
export interface ClusterNode {
  readonly name: string;
  readonly ready: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly { readonly type: string; readonly address: string }[];
}

/** What a discovery source knows of one reference. `unknown` must never be taken for empty. */
export type Discovered =
  | {
      readonly state: 'known';
      readonly endpoints: readonly Endpoint[];
      /** The family that the source would use itself, e.g. the Service's first `ipFamilies`. */
      readonly preferredFamily: IpFamily;
      /** Changes with whatever decides which endpoints there are: a Service's selector and ports. */
      readonly basis: string;
      /** Absent where there are endpoints and no Service. */
      readonly front?: ServiceFront;
    }
  /** Another name for a place somewhere else: a Service of type ExternalName. */
  | { readonly state: 'external'; readonly host: string; readonly port: number; readonly basis: string }
  | { readonly state: 'absent'; readonly reason: AbsentReason; readonly message: string }
  | {
      readonly state: 'unknown';
      readonly message: string;
      /** The source has only begun: it will say more by itself in a moment, and nobody need be told yet. */
      readonly beginning: boolean;
    };

export type AbsentReason =
  | 'ServiceNotFound'
  | 'PortNotFound'
  | 'UnsupportedProtocol'
  | 'NodePortMissing'
  | 'NoClusterIP'
  | 'NoLoadBalancerAddress';

/** One place a gateway sends traffic to. */
export interface UpstreamNode {
  /** IPv4 address, IPv6 address without brackets, or DNS name. */
  readonly host: string;
  readonly port: number;
  /** Integer >= 0. */
  readonly weight: number;
  /** Higher is preferred; 0 by default. */
  readonly priority: number;
}

export type LoadBalancing =
  | { readonly type: 'RoundRobin' | 'EWMA' | 'LeastConn' }
  | { readonly type: 'ConsistentHash'; readonly hashOn: HashOn; readonly key?: string };

export type HashOn = 'Vars' | 'Header' | 'Cookie' | 'Consumer' | 'VarsCombinations';

/** The id of an upstream in the gateway: `^[a-zA-Z0-9-_.]{1,64}$`. */
export type UpstreamId = string;

/** The upstream object that a gateway should hold. */
export interface Upstream {
  readonly id: UpstreamId;
  /** Every label that the object should carry, ownership labels included; values match `^\S{1,64}$`. */
  readonly labels: Readonly<Record<string, string>>;
  /** Sorted by host, then port; each host and port once. */
  readonly nodes: readonly UpstreamNode[];
  readonly scheme: Scheme;
  readonly loadBalancing: LoadBalancing;
  readonly timeouts?: { readonly connectMs: number; readonly sendMs: number; readonly readMs: number };
  /** Absent: the gateway's own default. */
  readonly retries?: number;
  readonly retryTimeoutMs?: number;
  /** Absent: the client's own Host header. */
  readonly hostHeader?: HostHeader;
  readonly keepalive?: { readonly size: number; readonly idleTimeoutMs: number; readonly requests: number };
  readonly healthCheck?: HealthCheck;
  readonly tls?: UpstreamTls;
  readonly description?: string;
  /** Fields in the vendor's own spelling, written as they are. */
  readonly overrides?: Readonly<Record<string, unknown>>;
}

/** Everything of an upstream but whose it is and where its traffic goes. */
export type Traffic = Omit<Upstream, 'id' | 'labels' | 'nodes'>;

export type HostHeader = { readonly type: 'Node' } | { readonly type: 'Rewrite'; readonly value: string };

export type ProbeType = 'HTTP' | 'HTTPS' | 'TCP';

/** How a gateway finds out which nodes are well. Counts are in a row. */
export interface HealthCheck {
  readonly active: {
    readonly type: ProbeType;
    readonly timeoutMs: number;
    readonly concurrency: number;
    readonly method: string;
    readonly path: string;
    readonly body: string;
    readonly host?: string;
    readonly port?: number;
    /** Each as `Name: value`. */
    readonly headers?: readonly string[];
    readonly verifyCertificate: boolean;
    readonly healthy: {
      readonly intervalSeconds: number;
      readonly statuses: readonly number[];
      readonly successes: number;
    };
    readonly unhealthy: Failures & { readonly intervalSeconds: number };
  };
  readonly passive?: {
    readonly type: ProbeType;
    readonly healthy: { readonly statuses: readonly number[]; readonly successes: number };
    readonly unhealthy: Failures;
  };
}

/** What makes a node unhealthy; counts are in a row, 0 is never. */
export interface Failures {
  readonly statuses: readonly number[];
  readonly httpFailures: number;
  readonly tcpFailures: number;
  readonly timeouts: number;
}

export interface UpstreamTls {
  /** What the gateway shows to the nodes, PEM. */
  readonly clientCertificate?: KeyPair;
  /** Whether the nodes' certificates must be trusted. */
  readonly verify: boolean;
}

/** PEM. The key belongs to the certificate, so that equal certificates mean equal keys. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** What is known of the pair that an object refers to. `unknown` must never be taken for missing. */
export type FoundKeyPair =
  | { readonly state: 'known'; readonly pair: KeyPair }
  /** There is none that can be used. */
  | {
      readonly state: 'unusable';
      readonly reason: 'SecretNotFound' | 'RefNotPermitted';
      readonly message: string;
    }
  | {
      readonly state: 'unknown';
      readonly message: string;
      /** As in `Discovered`. */
      readonly beginning: boolean;
    };

/** An upstream object as the gateway reported it. */
export interface ObservedUpstream {
  readonly id: UpstreamId;
  readonly labels: Readonly<Record<string, string>>;
  /** Sorted like `Upstream.nodes`. */
  readonly nodes: readonly UpstreamNode[];
  /** Seconds since 1970 as the gateway states them; kept by the gateway over every update. */
  readonly createTime?: number | undefined;
  /** How the gateway finds the nodes by itself; absent where it holds them. */
  readonly discovery?:
    | {
        /** By Services of Kubernetes, or by something that this operator knows nothing of. */
        readonly by: 'Kubernetes' | 'other';
        /** The fields that say so, in the gateway's own words. */
        readonly fields: readonly string[];
      }
    | undefined;
  /**
   * Everything of the object that a write would replace, in the driver's canonical form: equal strings mean that
   * a write would change nothing. Fields that the driver does not know are part of it, so they count as drift.
   */
  readonly canonical: string;
}
