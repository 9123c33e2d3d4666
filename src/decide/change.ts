import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { ObservedUpstream, Upstream } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';

/** The change that brings the gateway to the desired state. */
export type Change =
  | { readonly kind: 'none' }
  /** No upstream has this id. */
  | { readonly kind: 'create'; readonly desired: Upstream }
  | {
      readonly kind: 'update';
      readonly desired: Upstream;
      readonly observed: ObservedUpstream;
      /** `stripped`: another client overwrote the upstream without its ownership labels. `unowned`: it is taken over. */
      readonly from: 'ours' | 'stripped' | 'unowned';
    }
  /** Writes only the nodes of an upstream that another client manages. */
  | { readonly kind: 'updateNodes'; readonly desired: Upstream; readonly observed: ObservedUpstream }
  /** The upstream must not be changed, or does not exist although another client must create it. */
  | { readonly kind: 'blocked'; readonly programmed: Verdict };

/** What an object may do with an upstream that it did not create. */
export interface Terms {
  readonly manage: GatewayUpstreamSpec['manage'];
  /** The spec requests taking over unowned upstreams, and the connection allows it. */
  readonly mayAdopt: boolean;
  /** With `manage: Nodes`: the object has managed the nodes before. */
  readonly keptBefore: boolean;
  /** Where the gateway stores ownership, for a message: `labels`. */
  readonly marksIn: string;
}
