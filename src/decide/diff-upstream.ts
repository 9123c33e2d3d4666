import type { ObservedUpstream, Upstream, UpstreamId } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Change, Terms } from './change.ts';
import type { Desired } from './desired.ts';
import { unstatedFields } from './diff.ts';
import { describeOwner, isOwn, type Ownership } from './ownership.ts';

/** The change from `observed` to `desired`. `canonical` is the driver's canonical form of `desired`. */
export function diffUpstream(
  desired: Pick<Desired, 'upstream' | 'action'>,
  canonical: string,
  observed: ObservedUpstream | undefined,
  ownership: Ownership,
  terms: Terms,
): Change {
  if (desired.action === 'wait' || desired.action === 'notYet') return { kind: 'none' };
  const { upstream } = desired;
  if (terms.manage === 'Nodes') return planNodes(upstream, canonical, observed, ownership, terms);
  if (observed === undefined) {
    return desired.action === 'write' ? { kind: 'create', desired: upstream } : { kind: 'none' };
  }
  if (ownership === 'unowned' && terms.mayAdopt) {
    const problem = takeOverProblem(upstream, canonical, observed);
    return problem === undefined
      ? { kind: 'update', desired: upstream, observed, from: 'unowned' }
      : blocked('NotOwned', problem);
  }
  if (!isOwn(ownership)) return blocked('NotOwned', notOwned(observed, ownership, terms.marksIn));
  if (observed.canonical === canonical) return { kind: 'none' };
  const from = ownership === 'stripped' ? 'stripped' : 'ours';
  return { kind: 'update', desired: upstream, observed, from };
}

function planNodes(
  upstream: Upstream,
  canonical: string,
  observed: ObservedUpstream | undefined,
  ownership: Ownership,
  terms: Terms,
): Change {
  const { id } = upstream;
  if (observed === undefined) return { kind: 'blocked', programmed: upstreamNotFound(id) };
  // An upstream that this object orphaned before manage was Nodes still has its ownership labels.
  if (ownership === 'foreign') return blocked('NotOwned', notOwned(observed, ownership, terms.marksIn));
  if (observed.discovery !== undefined) {
    return blocked(
      'UsesDiscovery',
      `Upstream ${id} has no nodes to manage because the gateway discovers them itself (${observed.discovery.fields.join(', ')}): replace these fields with nodes in the gateway, or take the upstream over with adoptionPolicy IfUnowned instead of manage Nodes`,
    );
  }
  if (observed.canonical === canonical) return { kind: 'none' };
  if (!terms.keptBefore && upstream.nodes.length === 0) {
    return blocked(
      'NotOwned',
      `Upstream ${id} would lose all its nodes because the backends have no endpoints: check the Pods and spec.backends. The upstream is unchanged until an endpoint exists`,
    );
  }
  return { kind: 'updateNodes', desired: upstream, observed };
}

/** Why an unowned upstream is not taken over; undefined if it can be. */
function takeOverProblem(
  upstream: Upstream,
  canonical: string,
  observed: ObservedUpstream,
): string | undefined {
  const { id } = upstream;
  const unstated = fieldsInTheWay(observed, canonical);
  if (unstated.length > 0) {
    return `Upstream ${id} is not taken over because it has fields that the spec does not set (${unstated.join(', ')}): add them to the spec (plan --from-apisix prints them), or remove them in the gateway`;
  }
  return upstream.nodes.length === 0
    ? `Upstream ${id} is not taken over because it would lose all its nodes: check the Pods and spec.backends`
    : undefined;
}

/** The fields of an upstream that are not in `canonical` and prevent taking it over, sorted. */
export function fieldsInTheWay(observed: ObservedUpstream, canonical: string): readonly string[] {
  const { discovery } = observed;
  // The backends replace the gateway's own discovery, so its fields do not prevent the takeover.
  const replaced = discovery === undefined || discovery.by === 'other' ? [] : discovery.fields;
  return unstatedFields(observed.canonical, canonical).filter((field) => !replaced.includes(field));
}

function notOwned(observed: ObservedUpstream, ownership: Ownership, marksIn: string): string {
  const takeOver = ownership === 'unowned' ? ', take it over with adoptionPolicy IfUnowned' : '';
  return `The gateway already has upstream ${observed.id}, and ${describeOwner(observed, marksIn)}: set another upstreamId in a new object${takeOver}, or delete that upstream in the gateway`;
}

/** `Programmed` with `manage: Nodes` if the upstream does not exist. */
export function upstreamNotFound(id: UpstreamId): Verdict {
  return {
    status: 'False',
    reason: 'UpstreamNotFound',
    message: `The gateway has no upstream ${id}, and manage Nodes does not create one: create it in the gateway; the operator writes its nodes after it next lists the upstreams`,
  };
}

function blocked(reason: Verdict['reason'], message: string): Change {
  return { kind: 'blocked', programmed: { status: 'False', reason, message } };
}
