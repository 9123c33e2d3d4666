import type { Endpoint, IpFamily, ServiceFront } from './endpoint.ts';

/** The answer of a discovery source for one reference. `unknown` must never be treated as empty. */
export type Discovered =
  | {
      readonly state: 'known';
      readonly endpoints: readonly Endpoint[];
      /** The default IP family of the source, e.g. the first entry of `ipFamilies` of the Service. Absent: every family. */
      readonly preferredFamily?: IpFamily;
      /** Changes whenever the definition of the endpoints changes, e.g. selector or ports of a Service. */
      readonly basis: string;
      /** Absent for endpoints without a Service. */
      readonly front?: ServiceFront;
    }
  /** An alias for another host: a Service of type ExternalName. */
  | { readonly state: 'external'; readonly host: string; readonly port: number; readonly basis: string }
  | { readonly state: 'absent'; readonly reason: AbsentReason; readonly message: string }
  | {
      readonly state: 'unknown';
      readonly message: string;
      /** The source has just started and will answer soon, so this is not worth a report yet. */
      readonly beginning: boolean;
      /**
       * Absent: the source is unavailable. `RegistryServiceNotAllowed`: the settings of the registry exclude the service, so its
       * nodes are removed.
       */
      readonly reason?:
        | 'RegistryNotFound'
        | 'RegistryTypeMismatch'
        | 'RegistryServiceNotAllowed'
        | 'TooManyServices'
        | 'TooManyInstances';
    };

export type UnknownAnswer = Extract<Discovered, { state: 'unknown' }>;
export type CompleteAnswer = Exclude<Discovered, UnknownAnswer>;

export type AbsentReason =
  | 'ServiceNotFound'
  | 'PortNotFound'
  | 'UnsupportedProtocol'
  | 'NodePortMissing'
  | 'NoClusterIP'
  | 'NoLoadBalancerAddress'
  | 'ServiceUnknownToRegistry';

/**
 * What a backend no longer lists: one address, all endpoints on one cluster node, or all endpoints. Instances in a registry may
 * share an address, so their port belongs to it; without a port, all instances at the address. `portKey`: the entry of their
 * metadata with that port; absent for the port that the registry lists.
 */
export type Departed =
  | { readonly kind: 'address'; readonly address: string; readonly port?: number; readonly portKey?: string }
  | { readonly kind: 'node'; readonly node: string }
  | { readonly kind: 'all' };

/**
 * Why a reference no longer lists something.
 * - `explained`: it was terminating when it was last listed.
 * - `vanished`: it was not terminating when it was last listed.
 * - `unknown`: it has not been listed since this program started.
 */
export type RemovalCause = 'explained' | 'vanished' | 'unknown';
