import { NAMESPACE_PLACEHOLDER } from '../api/service-pattern.ts';
import type { ServiceRegistry } from '../model/objects.ts';
import type { RegistryProblem, RegistryStanding } from '../model/registry-facts.ts';
import type { Verdict } from '../model/verdict.ts';
import { compileNamePattern } from './name-pattern.ts';
import { patternProblem } from './selectors.ts';

/** Conditions of a ServiceRegistry. */
export interface RegistryVerdicts {
  readonly reachable: Verdict;
  readonly authorized: Verdict;
  /** Why the registry cannot be used at all; absent if the other conditions say it. */
  readonly problem?: Verdict;
}

const REACHABLE: Verdict = { status: 'True', reason: 'Reachable', message: 'The registry answers' };
const AUTHORIZED: Verdict = {
  status: 'True',
  reason: 'Authorized',
  message: 'The registry accepts the credentials',
};
export const REGISTRY_READY: Verdict = {
  status: 'True',
  reason: 'Ready',
  message: 'The registry answers and accepts the credentials',
};
const PENDING: Verdict = {
  status: 'Unknown',
  reason: 'Pending',
  message: 'Waiting for the registry to answer',
};

/** `standing` is undefined while the operator does not ask the registry, because its spec is not valid. */
export function registryVerdicts(
  { spec }: Pick<ServiceRegistry, 'spec'>,
  standing: RegistryStanding | undefined,
): RegistryVerdicts {
  if (!spec.ok) return unusable('InvalidSpec', spec.message);
  switch (standing?.kind) {
    case undefined:
    case 'starting':
      return { reachable: PENDING, authorized: PENDING };
    case 'answering':
      return { reachable: REACHABLE, authorized: AUTHORIZED };
    case 'failing':
      return failingVerdicts(standing.problem);
    default:
      return standing satisfies never;
  }
}

function failingVerdicts({ reason, message }: RegistryProblem): RegistryVerdicts {
  switch (reason) {
    case 'SecretMissing':
      return unusable('SecretNotFound', message);
    case 'Unauthorized':
    case 'Filtered':
      return { reachable: REACHABLE, authorized: { status: 'False', reason: 'Unauthorized', message } };
    case 'Unreachable':
    case 'ServerError':
    case 'InvalidAnswer':
    case 'Defect':
      return {
        reachable: { status: 'False', reason: 'RegistryUnavailable', message },
        authorized: {
          status: 'Unknown',
          reason: 'RegistryUnavailable',
          message: 'Not checked because the registry is unavailable',
        },
      };
    default:
      return reason satisfies never;
  }
}

function unusable(reason: 'InvalidSpec' | 'SecretNotFound', message: string): RegistryVerdicts {
  const unknown: Verdict = { status: 'Unknown', reason, message };
  return { reachable: unknown, authorized: unknown, problem: { status: 'False', reason, message } };
}

/** `Ready` if the spec has a pattern that cannot be used; undefined otherwise. */
export function registryPatternVerdict({ spec }: ServiceRegistry): Verdict | undefined {
  if (!spec.ok) return undefined;
  const { allowedNamespaces, tenantPolicy } = spec.value;
  const namespaces = patternProblem(allowedNamespaces);
  if (namespaces !== undefined) return invalid(`spec.allowedNamespaces: ${namespaces}`);
  const services = servicePatternProblem(tenantPolicy.services ?? []);
  return services === undefined ? undefined : invalid(`spec.tenantPolicy.services: ${services}`);
}

function servicePatternProblem(patterns: readonly string[]): string | undefined {
  for (const source of patterns) {
    const pattern = compileNamePattern(source.replaceAll(NAMESPACE_PLACEHOLDER, '(?:namespace)'));
    if (pattern.kind === 'unusable') return `${source} cannot be used because ${pattern.why}`;
  }
  return undefined;
}

function invalid(message: string): Verdict {
  return { status: 'False', reason: 'InvalidSpec', message };
}
