import type { Desired } from './desired.ts';
import type { ObservedUpstream, Upstream } from './model.ts';
import type { Ownership } from './ownership.ts';

/** What has to be done so that the gateway holds `desired`. */
export type Change =
  | { readonly kind: 'none' }
  /** The id is free. */
  | { readonly kind: 'create'; readonly desired: Upstream }
  | {
      readonly kind: 'update';
      readonly desired: Upstream;
      readonly observed: ObservedUpstream;
      /** Somebody replaced the object and its labels with it. */
      readonly stripped: boolean;
    }
  /** The id holds an upstream of somebody else. */
  | { readonly kind: 'foreign'; readonly observed: ObservedUpstream };

/** `canonical` is the driver's canonical form of `desired.upstream`. */
export function planChange(
  desired: Pick<Desired, 'upstream' | 'action'>,
  canonical: string,
  observed: ObservedUpstream | undefined,
  ownership: Ownership,
): Change {
  if (desired.action === 'wait' || desired.action === 'notYet') return { kind: 'none' };
  if (observed === undefined) {
    return desired.action === 'write' ? { kind: 'create', desired: desired.upstream } : { kind: 'none' };
  }
  if (ownership === 'foreign') return { kind: 'foreign', observed };
  if (observed.canonical === canonical) return { kind: 'none' };
  return { kind: 'update', desired: desired.upstream, observed, stripped: ownership === 'stripped' };
}
