import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { ObservedUpstream, Upstream } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';

/** What has to be done so that the gateway holds `desired`. */
export type Change =
  | { readonly kind: 'none' }
  /** The id is free. */
  | { readonly kind: 'create'; readonly desired: Upstream }
  | {
      readonly kind: 'update';
      readonly desired: Upstream;
      readonly observed: ObservedUpstream;
      /** `stripped`: somebody replaced the object and its labels with it. `unowned`: it is taken over. */
      readonly from: 'ours' | 'stripped' | 'unowned';
    }
  /** Only the nodes of what somebody else owns. */
  | { readonly kind: 'updateNodes'; readonly desired: Upstream; readonly observed: ObservedUpstream }
  /** The gateway holds something that must not be touched, or nothing where somebody else should have made it. */
  | { readonly kind: 'blocked'; readonly programmed: Verdict };

/** What an object may do with an upstream that it did not make. */
export interface Terms {
  readonly manage: GatewayUpstreamSpec['manage'];
  /** It asks for taking over what nobody owns, and the connection allows it. */
  readonly mayAdopt: boolean;
  /** With `manage: Nodes`: it has kept the nodes before. */
  readonly keptBefore: boolean;
  /** What the gateway keeps the mark of an owner in, in the words of a message. */
  readonly marksIn: string;
}
