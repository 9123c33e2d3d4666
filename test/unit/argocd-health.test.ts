import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LuaEngine, LuaFactory } from 'wasmoon';
import { parse } from 'yaml';
import { CONDITIONS, STALLED } from '../../src/api/conditions.ts';
import { type Condition, pendingStatus, pendingStatusInNamespace } from '../../src/api/schema.ts';
import { nextConditions, progressConditions } from '../../src/decide/status.ts';
import type { Verdict } from '../../src/model/verdict.ts';
import { codeBlock } from '../support/code-block.ts';
import { reasonsOf } from '../support/condition-reasons.ts';

interface Health {
  readonly status: string;
  readonly message: string;
}

const { data } = parse(codeBlock('argocd.md', 'yaml')) as { readonly data: Readonly<Record<string, string>> };
const kinds = Object.keys(CONDITIONS) as (keyof typeof CONDITIONS)[];
const scripts = kinds.map(
  (kind) => [kind, data[`resource.customizations.health.gatewayupstream.dev_${kind}`] ?? ''] as const,
);

const conditionsOf = (ready: Verdict): Condition[] =>
  nextConditions(
    undefined,
    [['Ready', ready], ...progressConditions(ready)],
    3,
    () => '2026-01-01T00:00:00Z',
  );

const object = (status: object | undefined, metadata: object = {}) => ({
  metadata: { name: 'web', generation: 3, ...metadata },
  ...(status === undefined ? {} : { status }),
});

it('the ConfigMap has exactly one script for each kind', () => {
  expect(Object.keys(data)).toEqual(
    kinds.map((kind) => `resource.customizations.health.gatewayupstream.dev_${kind}`),
  );
});

describe.each(scripts)('the health script of %s', (kind, script) => {
  let lua: LuaEngine;

  beforeAll(async () => {
    lua = await new LuaFactory().createEngine();
  });

  afterAll(() => {
    lua.global.close();
  });

  const health = (sample: object) => lua.doStringSync(`obj = ${toLua(sample)}\n${script}`) as Health;

  it.each(['True', 'False', 'Unknown'] as const)(
    'maps every reason of Ready=%s to a health status',
    (status) => {
      const reasons = reasonsOf(kind, 'Ready', status);
      expect(reasons.length).toBeGreaterThan(0);
      for (const reason of reasons) {
        const ready: Verdict = { status, reason, message: 'what is wrong' };
        const failing = STALLED.has(reason) ? 'Degraded' : 'Progressing';
        expect(health(object({ observedGeneration: 3, conditions: conditionsOf(ready) }))).toEqual({
          status: status === 'True' ? 'Healthy' : failing,
          message: `${reason}: what is wrong`,
        });
      }
    },
  );

  const fine = conditionsOf({ status: 'True', reason: 'Ready', message: 'fine' });
  const stalled = conditionsOf({ status: 'False', reason: 'InvalidSpec', message: 'bad' });
  const inUse = conditionsOf({ status: 'False', reason: 'InUse', message: 'route r refers to it' });
  const deleted = { deletionTimestamp: '2026-01-01T00:00:00Z' };
  const created = kind === 'GatewayUpstream' ? pendingStatusInNamespace : pendingStatus;
  const waiting: Health = { status: 'Progressing', message: 'Waiting for the operator' };

  it.each<[string, object, Health]>([
    ['without status', object(undefined), waiting],
    ['with an empty status', object({}), waiting],
    ['without conditions', object({ observedGeneration: 3 }), waiting],
    ['as it is created', object(created), { ...waiting, message: created.conditions[0].message }],
    ['whose spec changed since', object({ observedGeneration: 2, conditions: fine }), waiting],
    ['whose spec was corrected', object({ observedGeneration: 2, conditions: stalled }), waiting],
    // Argo CD does not evaluate objects that are being deleted. Other callers must not get an outdated status.
    [
      'that was deleted a moment ago',
      object({ observedGeneration: 3, conditions: fine }, { ...deleted, generation: 4 }),
      waiting,
    ],
    [
      'whose deletion waits',
      object({ observedGeneration: 3, conditions: inUse }, deleted),
      { status: 'Progressing', message: 'InUse: route r refers to it' },
    ],
  ])('returns the health of an object %s', (_, sample, expected) => {
    expect(health(sample)).toEqual(expected);
  });
});

/** A JSON value as a Lua expression. Argo CD passes a plain Lua table to the script. */
function toLua(value: unknown): string {
  if (Array.isArray(value)) return `{${value.map(toLua).join(', ')}}`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value)
      .map(([key, one]) => `[${JSON.stringify(key)}] = ${toLua(one)}`)
      .join(', ')}}`;
  }
  return JSON.stringify(value);
}
