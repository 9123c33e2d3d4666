export type IpFamily = 'IPv4' | 'IPv6';

export type Protocol = 'TCP' | 'UDP';

/**
 * One endpoint of a Service, with the defaults of the API applied (`ready: null` is true, ...), or one instance in a registry.
 */
export interface Endpoint {
  /** Canonical IP address, without brackets; or what a registry has in its place, usually a DNS name. */
  readonly address: string;
  /** Absent if `address` is not an IP address. */
  readonly family?: IpFamily;
  /** Absent if the slice has no such port or the port has no number. */
  readonly port?: number | undefined;
  /** UID of the target, usually a Pod. A dual-stack Pod has one endpoint per family. Absent if the slice does not have it. */
  readonly target?: string | undefined;
  /** Name of the cluster node; absent if the slice does not have it. */
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

/** Addresses of a Service port other than those of its endpoints. */
export interface ServiceFront {
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  /** It has no cluster IP: its name resolves to its endpoints. */
  readonly isHeadless: boolean;
  readonly clusterIps: readonly string[];
  /** IP addresses or DNS names of its load balancer, from the status. */
  readonly loadBalancer: readonly string[];
  /** externalTrafficPolicy is Local: a cluster node serves only the endpoints that run on it. */
  readonly isLocal: boolean;
  /** Absent if only the endpoints have the port. */
  readonly port?: ServicePort;
}

export interface ServicePort {
  readonly name: string;
  readonly port: number;
  /** TCP, UDP or SCTP. */
  readonly protocol: string;
  readonly nodePort?: number | undefined;
  /** Application protocol: `https`, `kubernetes.io/h2c`, ... */
  readonly appProtocol?: string | undefined;
}

/** The stored form of a cluster node. */
export interface ClusterNode {
  readonly name: string;
  readonly ready: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly { readonly type: string; readonly address: string }[];
}
