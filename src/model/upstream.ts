import type { KeyPair } from './key-pair.ts';
import type { ObservedOwner, OwnerMark } from './ownership.ts';

/** The id of an upstream in the gateway: `^[a-zA-Z0-9-_.]{1,64}$`. */
export type UpstreamId = string;

/** The desired upstream in a gateway. */
export interface Upstream {
  readonly id: UpstreamId;
  /** Absent if the gateway stores no ownership for this upstream. */
  readonly owner?: OwnerMark;
  /** Labels from the spec, without ownership labels. */
  readonly labels: Readonly<Record<string, string>>;
  /** Sorted by host, then port. No duplicates. */
  readonly nodes: readonly UpstreamNode[];
  readonly scheme: Scheme;
  readonly loadBalancing: LoadBalancing;
  readonly timeouts?: { readonly connectMs: number; readonly sendMs: number; readonly readMs: number };
  /** Absent: the default of the gateway. */
  readonly retries?: number;
  readonly retryTimeoutMs?: number;
  /** Absent: the Host header of the client. */
  readonly hostHeader?: HostHeader;
  readonly keepalive?: { readonly size: number; readonly idleTimeoutMs: number; readonly requests: number };
  readonly healthCheck?: HealthCheck;
  readonly tls?: UpstreamTls;
  readonly description?: string;
  /** Fields under the names of the vendor. They are written unchanged. */
  readonly overrides?: Readonly<Record<string, unknown>>;
}

/** How an upstream handles traffic: everything except identity, ownership, labels and nodes. */
export type Traffic = Omit<Upstream, 'id' | 'owner' | 'labels' | 'nodes'>;

/** An endpoint as it is written to the gateway. */
export interface UpstreamNode {
  /** IPv4 address, IPv6 address without brackets, or DNS name. */
  readonly host: string;
  readonly port: number;
  /** Integer >= 0. */
  readonly weight: number;
  /** The gateway prefers higher values. */
  readonly priority: number;
  /** Tells which backends listed the node (`decide/node-marks.ts`). Gateways store it unchanged. At most 400 characters. */
  readonly backendMark?: string;
}

export type Scheme = 'HTTP' | 'HTTPS' | 'GRPC' | 'GRPCS' | 'TCP' | 'TLS' | 'UDP';

export type LoadBalancing =
  | { readonly type: 'RoundRobin' | 'EWMA' | 'LeastConn' }
  | { readonly type: 'ConsistentHash'; readonly hashOn: HashOn; readonly key?: string };

export type HashOn = 'Vars' | 'Header' | 'Cookie' | 'Consumer' | 'VarsCombinations';

export type HostHeader = { readonly type: 'Node' } | { readonly type: 'Rewrite'; readonly value: string };

export type ProbeType = 'HTTP' | 'HTTPS' | 'TCP';

/** Health checks that the gateway runs. Counts are of consecutive results. */
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

/** What makes a node unhealthy. Counts are of consecutive results; 0 means never. */
export interface Failures {
  readonly statuses: readonly number[];
  readonly httpFailures: number;
  readonly tcpFailures: number;
  readonly timeouts: number;
}

export interface UpstreamTls {
  /** The gateway presents it to the nodes. PEM. */
  readonly clientCertificate?: KeyPair;
  /** Whether the gateway verifies the certificates of the nodes. */
  readonly verify: boolean;
}

/** An upstream as the gateway reported it. */
export interface ObservedUpstream {
  readonly id: UpstreamId;
  /** Absent if the upstream has no ownership marks of this operator. */
  readonly owner?: ObservedOwner | undefined;
  /** Without ownership marks. */
  readonly labels: Readonly<Record<string, string>>;
  /** Sorted like `Upstream.nodes`. */
  readonly nodes: readonly UpstreamNode[];
  /** Seconds since 1970. The gateway keeps the value across updates. */
  readonly createTime?: number | undefined;
  /** Service discovery of the gateway itself; absent if the upstream lists its nodes. */
  readonly discovery?:
    | {
        /** `other`: a kind of discovery that this operator does not support. */
        readonly by: 'Kubernetes' | 'Registry' | 'other';
        /** The fields that configure it, under the names of the gateway. */
        readonly fields: readonly string[];
      }
    | undefined;
  /**
   * Everything in the object that a write would replace, in the canonical form of the driver. Equal strings mean that a
   * write would change nothing. It includes fields that the driver does not know, so they count as drift.
   */
  readonly canonical: string;
}
