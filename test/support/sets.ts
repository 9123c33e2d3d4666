import { expect } from 'vitest';
import { eventually } from './eventually.ts';
import { type ConditionView, conditionOf, GROUP_PATH, type Workload } from './workload.ts';

export interface SetView extends Record<string, unknown> {
  readonly status: {
    readonly services?: number;
    readonly ports?: number;
    readonly upstreams?: number;
    readonly pruning?: { readonly waiting: number };
    readonly problems?: readonly object[];
  };
}

const SETS = `${GROUP_PATH}/gatewayupstreamsets`;

export function setPath(name: string): string {
  return `${SETS}/${name}`;
}

export async function createSet(work: Workload, name: string, spec: object): Promise<void> {
  await work.create(SETS, {
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind: 'GatewayUpstreamSet',
    metadata: { name },
    spec,
  });
}

export async function setOf(work: Workload, name: string): Promise<SetView> {
  return (await work.get(setPath(name))) as SetView;
}

/** Resolves when the set is Ready with `status`. */
export async function settled(
  work: Workload,
  name: string,
  status: object,
  patience?: Parameters<typeof eventually>[1],
): Promise<void> {
  await eventually(async () => {
    const set = await setOf(work, name);
    expect(set.status).toMatchObject(status);
    expect(conditionOf(set, 'Ready')).toMatchObject({ status: 'True' });
  }, patience);
}

/** The condition `PruningHeld`. */
export async function heldOf(work: Workload, name: string): Promise<ConditionView | undefined> {
  return conditionOf(await setOf(work, name), 'PruningHeld');
}
