import type { KeyPair } from './key-pair.ts';
import type { ObservedOwner, OwnerMark } from './ownership.ts';

/** The id of an upstream in the gateway: `^[a-zA-Z0-9-_.]{1,64}$`. */
export type UpstreamId = string;

/** The upstream object that a gateway should hold. */
export interface Upstream {
  readonly id: UpstreamId;
  /** Whose it is; absent: the gateway keeps no mark of it. */
  readonly owner?: OwnerMark;
  /** The user's own labels. */
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
export type Traffic = Omit<Upstream, 'id' | 'owner' | 'labels' | 'nodes'>;

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

export type Scheme = 'HTTP' | 'HTTPS' | 'GRPC' | 'GRPCS' | 'TCP' | 'TLS' | 'UDP';

export type LoadBalancing =
  | { readonly type: 'RoundRobin' | 'EWMA' | 'LeastConn' }
  | { readonly type: 'ConsistentHash'; readonly hashOn: HashOn; readonly key?: string };

export type HashOn = 'Vars' | 'Header' | 'Cookie' | 'Consumer' | 'VarsCombinations';

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

/** An upstream object as the gateway reported it. */
export interface ObservedUpstream {
  readonly id: UpstreamId;
  /** Absent: it carries no mark of this operator. */
  readonly owner?: ObservedOwner | undefined;
  /** Without the marks of its owner. */
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
