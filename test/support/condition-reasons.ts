import { CONDITIONS, type ConditionFacts } from '../../src/api/conditions.ts';
import type { Reason } from '../../src/api/reasons.ts';

/** Every reason that a condition of this type and status may have, by the table that the documentation is made from. */
export function reasonsOf(kind: keyof typeof CONDITIONS, type: string, status: string): readonly Reason[] {
  const conditions: Readonly<Record<string, ConditionFacts>> = CONDITIONS[kind];
  const facts = conditions[type];
  if (facts === undefined) return [];
  const own: readonly Reason[] = facts.reasons[status as keyof ConditionFacts['reasons']] ?? [];
  // Reconciling and Stalled are True with the reason of a Ready that is not.
  const statuses = type === 'Ready' ? [status] : ['False', 'Unknown'];
  const followed = (facts.follows ?? []).flatMap((other) =>
    statuses.flatMap((one) => reasonsOf(kind, other, one)),
  );
  return [...new Set([...own, ...followed])];
}
