import { ACCEPT_PRUNE_ANNOTATION } from '../api/group.ts';
import type { ObjectKey } from '../model/keys.ts';
import type { GatewayUpstreamSet } from '../model/objects.ts';
import type { Verdict } from '../model/verdict.ts';
import { invalidTimeNote } from './removal-guard.ts';
import { patternProblem } from './selectors.ts';
import type { SetMembers } from './set-members.ts';
import { kubeTime } from './status.ts';
import type { SetProblem } from './upstream-set.ts';

/** The progress of a set's GatewayUpstreams toward their desired state. */
export interface SetProgress {
  readonly members: SetMembers;
  /** Members that may still differ from their desired state. */
  readonly unsettled: ReadonlySet<ObjectKey>;
  /** Members whose name is in use by a GatewayUpstream that the set does not own. */
  readonly taken: ReadonlySet<ObjectKey>;
  /** Members that the API server rejected, with its message. */
  readonly refused: ReadonlyMap<ObjectKey, string>;
}

/** `Ready` of a set with an invalid spec. */
export function unusableSetVerdict({ name, spec }: GatewayUpstreamSet): Verdict {
  const why = spec.ok
    ? `spec.namespaceSelector: ${patternProblem(spec.value.namespaceSelector)}`
    : spec.message;
  return {
    status: 'False',
    reason: 'InvalidSpec',
    message: `GatewayUpstreamSet ${name} is not valid, so its GatewayUpstreams are unchanged: ${why}`,
  };
}

export function setReadyVerdict({ members, unsettled, taken, refused }: SetProgress): Verdict {
  const [refusedFirst] = [...refused].toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (refusedFirst !== undefined) {
    const [key, message] = refusedFirst;
    return {
      status: 'False',
      reason: 'MemberRefused',
      message: `The API server rejected GatewayUpstream ${key}${andOthers(refused.size)}: ${message}: correct spec.template`,
    };
  }
  const [takenFirst] = [...taken].toSorted();
  if (takenFirst !== undefined) {
    return {
      status: 'False',
      reason: 'NameTaken',
      message: `The set cannot create GatewayUpstream ${takenFirst}${andOthers(taken.size)}, because an object that the set does not own has that name: delete that object, or hand it over with the label gatewayupstream.dev/set`,
    };
  }
  const missing = [...unsettled].some((key) => members.wanted.has(key));
  return missing
    ? { status: 'Unknown', reason: 'Pending', message: 'GatewayUpstreams are being created or updated' }
    : {
        status: 'True',
        reason: 'Ready',
        message: 'Every port of every matching Service has a GatewayUpstream',
      };
}

function andOthers(size: number): string {
  return size === 1 ? '' : ' and others';
}

/** The condition `PruningHeld` while deletions wait for acceptance. */
export function pruningHeldVerdict({ name, acceptPrune, spec }: GatewayUpstreamSet, since: number): Verdict {
  const percent = spec.ok ? spec.value.maxPrunePercent : 0;
  const command = `kubectl annotate --overwrite gwus/${name} ${ACCEPT_PRUNE_ANNOTATION}=${kubeTime(since)}`;
  return {
    status: 'True',
    reason: 'PruningHeld',
    message: `More than ${percent} % of the GatewayUpstreams would be deleted at once although their Services exist, so the operator deletes none of these. Check the selectors, spec.ports and the labels of the Services. To delete them, run: ${command}${invalidTimeNote(acceptPrune)}`,
  };
}

/** All problems of a set, sorted. */
export function setProblems({ members, taken, refused }: SetProgress): readonly SetProblem[] {
  return [
    ...members.problems(),
    ...[...taken].map((key) => problemOf(members, key, 'NameTaken')),
    ...[...refused.keys()].map((key) => problemOf(members, key, 'MemberRefused')),
  ].toSorted(inOrder);
}

function problemOf(members: SetMembers, key: ObjectKey, reason: SetProblem['reason']): SetProblem {
  const port = members.wanted.get(key);
  if (port === undefined) return { service: key, reason };
  return { service: `${port.namespace}/${port.service}`, port: port.label, reason };
}

function inOrder(a: SetProblem, b: SetProblem): number {
  const [first, second] = [a, b].map(({ service, port = '', reason }) => `${service} ${port} ${reason}`);
  return (first ?? '') < (second ?? '') ? -1 : 1;
}
