import type { Endpoint, IpFamily, ServiceFront } from './endpoint.ts';

/** The answer of a discovery source for one reference. `unknown` must never be treated as empty. */
export type Discovered =
  | {
      readonly state: 'known';
      readonly endpoints: readonly Endpoint[];
      /** The default IP family of the source, e.g. the first entry of `ipFamilies` of the Service. */
      readonly preferredFamily: IpFamily;
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
    };

export type UnknownAnswer = Extract<Discovered, { state: 'unknown' }>;
export type CompleteAnswer = Exclude<Discovered, UnknownAnswer>;

export type AbsentReason =
  | 'ServiceNotFound'
  | 'PortNotFound'
  | 'UnsupportedProtocol'
  | 'NodePortMissing'
  | 'NoClusterIP'
  | 'NoLoadBalancerAddress';

/** What a backend no longer lists: one address, all endpoints on one cluster node, or all endpoints. */
export type Departed =
  | { readonly kind: 'address'; readonly address: string }
  | { readonly kind: 'node'; readonly node: string }
  | { readonly kind: 'all' };

/**
 * Why a reference no longer lists something.
 * - `explained`: it was terminating when it was last listed.
 * - `vanished`: it was not terminating when it was last listed.
 * - `unknown`: it has not been listed since this program started.
 */
export type RemovalCause = 'explained' | 'vanished' | 'unknown';
