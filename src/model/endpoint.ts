export type IpFamily = 'IPv4' | 'IPv6';

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
  /** Weight that a registry gives it, relative to the others of its backend; absent: all are equal. 0: no traffic. */
  readonly weight?: number;
  /** What a registry stores beside it. */
  readonly metadata?: Readonly<Record<string, string>>;
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
