import type { UpstreamId } from '../model/upstream.ts';
import type { Change } from './change.ts';
import { describeChange, nodesIn } from './diff.ts';

/** The maximum number of changes in one Event. */
const MAX_NAMED_CHANGES = 10;

/** Whether `change` takes over an unowned upstream. */
export function isTakeOver(change: Change): boolean {
  return change.kind === 'update' && change.from === 'unowned';
}

/** A repair or takeover by a write, for an Event. */
export interface Repair {
  readonly reason: 'Adopted' | 'Repaired';
  readonly message: string;
}

/** The repair or takeover by the write of `change`. `drifted`: another client changed or deleted the upstream before. */
export function repairOf(
  change: Extract<Change, { kind: 'create' | 'update' }>,
  canonical: string,
  drifted: boolean,
): Repair | undefined {
  const { id } = change.desired;
  if (change.kind === 'update' && change.from === 'unowned') return adoption(change, canonical);
  if (change.kind === 'update' && change.from === 'stripped') {
    return repaired(
      `Another client replaced upstream ${id} in the gateway, including its labels; the operator wrote it again`,
    );
  }
  return drifted
    ? repaired(`Another client changed or deleted upstream ${id} in the gateway; the operator wrote it again`)
    : undefined;
}

/** The repair by a write of nodes. `before`: the canonical form before another client changed the upstream. */
export function nodeRepairOf(
  id: UpstreamId,
  before: string | undefined,
  observed: string,
): Repair | undefined {
  if (before === undefined || nodesIn(before) === nodesIn(observed)) return undefined;
  return repaired(
    `Another client changed the nodes of upstream ${id} in the gateway; the operator wrote them again`,
  );
}

function adoption(change: Extract<Change, { kind: 'update' }>, canonical: string): Repair {
  const { changes, more } = describeChange(change, canonical, MAX_NAMED_CHANGES);
  const rest = more === 0 ? '' : ` and ${more} more`;
  return {
    reason: 'Adopted',
    message: `The operator took over upstream ${change.desired.id}, which had no owner: ${changes.join(', ')}${rest}`,
  };
}

function repaired(message: string): Repair {
  return { reason: 'Repaired', message };
}
