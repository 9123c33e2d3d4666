import type { Endpoint, IpFamily, ServiceFront } from './endpoint.ts';

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

export type UnknownAnswer = Extract<Discovered, { state: 'unknown' }>;
export type CompleteAnswer = Exclude<Discovered, UnknownAnswer>;

export type AbsentReason =
  | 'ServiceNotFound'
  | 'PortNotFound'
  | 'UnsupportedProtocol'
  | 'NodePortMissing'
  | 'NoClusterIP'
  | 'NoLoadBalancerAddress';

/** What a backend lists no more: one address, or every endpoint that it had, on one node of the cluster or anywhere. */
export type Departed =
  | { readonly kind: 'address'; readonly address: string }
  | { readonly kind: 'node'; readonly node: string }
  | { readonly kind: 'all' };

/**
 * How something went that a reference lists no more.
 * - `explained`: it was terminating when it was listed last.
 * - `vanished`: it was listed without terminating, and then it was not.
 * - `unknown`: it was not listed as long as this program runs.
 */
export type RemovalCause = 'explained' | 'vanished' | 'unknown';
