import { describe, expect, it } from 'vitest';
import type { ServiceRegistrySpec } from '../../../src/api/service-registry.ts';
import { registryPatternVerdict, registryVerdicts } from '../../../src/decide/registry-verdicts.ts';
import type { ServiceRegistry } from '../../../src/model/objects.ts';
import { REGISTRY_ERROR_REASONS } from '../../../src/model/registry-facts.ts';

const valid = { spec: { ok: true, value: {} as ServiceRegistrySpec } } as const;
const failing = (reason: (typeof REGISTRY_ERROR_REASONS)[number]) =>
  registryVerdicts(valid, { kind: 'failing', problem: { reason, message: 'the cause' } });

describe('registryPatternVerdict', () => {
  const registry = (services: readonly string[], match: readonly string[] = []) =>
    ({
      spec: { ok: true, value: { allowedNamespaces: { match }, tenantPolicy: { services } } },
    }) as unknown as ServiceRegistry;

  it('names the field and the pattern that cannot be used', () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: users write it like this.
    expect(registryPatternVerdict(registry(['^${namespace}[.].+$'], ['^a$']))).toBeUndefined();
    expect(registryPatternVerdict(registry(['^a$', '(']))).toMatchObject({
      status: 'False',
      reason: 'InvalidSpec',
      message: expect.stringMatching(/^spec\.tenantPolicy\.services: \( cannot be used because /),
    });
    expect(registryPatternVerdict(registry([], ['(']))?.message).toMatch(/^spec\.allowedNamespaces: \(/);
  });
});

describe('registryVerdicts', () => {
  it('is Unknown before the first answer', () => {
    for (const standing of [undefined, { kind: 'starting' }] as const) {
      expect(registryVerdicts(valid, standing)).toMatchObject({
        reachable: { status: 'Unknown', reason: 'Pending' },
        authorized: { status: 'Unknown', reason: 'Pending' },
      });
    }
  });

  it('is True while the registry answers', () => {
    expect(registryVerdicts(valid, { kind: 'answering' })).toMatchObject({
      reachable: { status: 'True', reason: 'Reachable' },
      authorized: { status: 'True', reason: 'Authorized' },
    });
  });

  it('reports an invalid spec', () => {
    const invalid = { spec: { ok: false, message: 'spec.consul: unknown field' } } as const;
    const { reachable, problem } = registryVerdicts(invalid, undefined);
    expect(problem).toEqual({
      status: 'False',
      reason: 'InvalidSpec',
      message: 'spec.consul: unknown field',
    });
    expect(reachable).toMatchObject({ status: 'Unknown', reason: 'InvalidSpec' });
  });

  it.each(['Unreachable', 'ServerError', 'InvalidAnswer'] as const)('is not reachable: %s', (reason) => {
    const { reachable, authorized, problem } = failing(reason);
    expect(reachable).toEqual({ status: 'False', reason: 'RegistryUnavailable', message: 'the cause' });
    expect(authorized).toMatchObject({ status: 'Unknown', reason: 'RegistryUnavailable' });
    expect(problem).toBeUndefined();
  });

  it.each(['Unauthorized', 'Filtered'] as const)('is reachable but not authorized: %s', (reason) => {
    expect(failing(reason)).toMatchObject({
      reachable: { status: 'True', reason: 'Reachable' },
      authorized: { status: 'False', reason: 'Unauthorized', message: 'the cause' },
    });
  });

  it('reports a missing Secret, and does not claim that the registry is down', () => {
    const unknown = { status: 'Unknown', reason: 'SecretNotFound', message: 'the cause' };
    expect(failing('SecretMissing')).toEqual({
      reachable: unknown,
      authorized: unknown,
      problem: { ...unknown, status: 'False' },
    });
  });

  it('has a verdict for every reason', () => {
    for (const reason of REGISTRY_ERROR_REASONS) expect(failing(reason).reachable.message).not.toBe('');
  });
});
