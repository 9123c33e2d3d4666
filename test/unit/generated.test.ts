import { describe, expect, it } from 'vitest';
import { CONDITIONS, type ConditionFacts, EVENT_REASONS, METRIC_REASONS } from '../../src/api/conditions.ts';
import { REASONS } from '../../src/api/reasons.ts';
import { reasonsOf } from '../support/condition-reasons.ts';
import { FAULTS } from '../support/fault-table.ts';
import { generatedFiles, staleFiles } from '../support/generate.ts';
import { configurationFields, customResourceReferences } from '../support/references.ts';

describe('generated files', () => {
  it('match the output of `npm run generate`', async () => {
    expect(generatedFiles().size).toBeGreaterThanOrEqual(5);
    expect(await staleFiles(), 'run `npm run generate` and commit what it writes').toEqual([]);
  });

  it('describe every field', () => {
    const silent = customResourceReferences()
      .flatMap(({ title, fields }) => fields.map((field) => ({ ...field, path: `${title} ${field.path}` })))
      .concat(configurationFields())
      .filter(({ description, type }) => description === '' || type === '')
      .map(({ path }) => path);
    expect(silent).toEqual([]);
  });

  it('assign every reason to a condition, an Event or a metric', () => {
    const named = Object.values(CONDITIONS).flatMap((conditions) =>
      Object.values<ConditionFacts>(conditions).flatMap(({ reasons }) => Object.values(reasons).flat()),
    );
    expect([...new Set([...named, ...EVENT_REASONS, ...METRIC_REASONS])].sort()).toEqual(
      Object.keys(REASONS).sort(),
    );
  });

  it.each(FAULTS)('list the reason of the condition for: $symptom', ({ on: [kind], condition }) => {
    expect(reasonsOf(kind, condition.type, condition.status)).toContain(condition.reason);
  });

  it('have a row for every field, with type, default and rules', () => {
    const [connection, upstream] = customResourceReferences();
    const rows = (reference: typeof upstream) =>
      new Map(reference?.fields.map((field) => [field.path, field]));
    expect(connection?.title).toBe('GatewayConnection');
    expect(rows(upstream).get('spec.backends[].weight')).toMatchObject({
      type: 'integer',
      default: '`1`',
      rules: ['0 to 100'],
    });
    expect(rows(upstream).get('spec.timeouts.read')).toMatchObject({ type: 'duration', default: '`60s`' });
    expect(rows(connection).get('spec.type')?.rules).toEqual(['required']);
    expect(rows(connection).get('spec.allowedNamespaces.selector.matchExpressions[].operator')?.type).toBe(
      '`In`, `NotIn`, `Exists`, `DoesNotExist`',
    );
    const configuration = new Map(configurationFields().map((field) => [field.path, field]));
    expect(configuration.get('leaderElection.leaseDuration')).toMatchObject({
      type: 'duration',
      default: '`15s`',
    });
    expect(configuration.get('ops.port')).toMatchObject({ type: 'integer or string', default: '`8080`' });
  });
});
