import type { UnknownAnswer } from '../model/discovered.ts';
import type { FoundKeyPair } from '../model/key-pair.ts';
import type { Verdict } from '../model/verdict.ts';
import { carriesWeight, foundBy, outdatedOf, type ResolvedBackend } from './backends.ts';
import type { Excluded } from './nodes.ts';
import type { Weighing } from './weighed-nodes.ts';

export function resolvedRefs(
  backends: readonly ResolvedBackend[],
  clientCertificate: FoundKeyPair | undefined,
): Verdict {
  const answers = backends.flatMap((backend) => [foundBy(backend), outdatedOf(backend)]);
  const problems = [...answers, clientCertificate].flatMap(problemOf);
  const worst = problems.find(({ status }) => status === 'False') ?? problems[0];
  if (worst === undefined) {
    return { status: 'True', reason: 'ResolvedRefs', message: 'All references are resolved' };
  }
  return { ...worst, message: problems.map(({ message }) => message).join('; ') };
}

function problemOf(found: ReturnType<typeof foundBy> | FoundKeyPair): readonly Verdict[] {
  switch (found?.state) {
    case undefined:
    case 'known':
    case 'external':
      return [];
    case 'unknown':
      return [{ status: 'Unknown', reason: unknownReason(found), message: found.message }];
    case 'absent':
    case 'notPermitted':
    case 'unusable':
      return [{ status: 'False', reason: found.reason, message: found.message }];
    default:
      return found satisfies never;
  }
}

function unknownReason(
  found: UnknownAnswer | Extract<FoundKeyPair, { state: 'unknown' }>,
): Verdict['reason'] {
  return ('reason' in found ? found.reason : undefined) ?? 'SourceUnavailable';
}

export function readyVerdict(
  backends: readonly ResolvedBackend[],
  { weighted, counts, excluded, problems, nodes }: Weighing,
  schemesDiffer: boolean,
): Verdict {
  if (!backends.some(({ target }) => carriesWeight(target))) {
    return {
      status: 'True',
      reason: 'NoWeight',
      message: 'All backends have weight 0, so the upstream has no nodes: raise the weight of a backend',
    };
  }
  if (weighted.ready === 0) {
    return {
      status: 'True',
      reason: 'NoReadyEndpoints',
      message: noReadyMessage(weighted.draining, counts.held, excluded, backends),
    };
  }
  if (nodes.length === 0) {
    return {
      status: 'True',
      reason: 'NoWeight',
      message:
        'All endpoints are in zones of weight 0, so the upstream has no nodes: raise a weight in spec.endpoints.zones',
    };
  }
  const remarks = [
    'The upstream in the gateway is up to date',
    ...(problems.length === 0
      ? []
      : [
          'the weights are approximate because there are too many endpoints for exact weights (see status.warnings)',
        ]),
    ...(schemesDiffer
      ? ['the Service ports have different protocols in appProtocol, so the scheme is HTTP: set spec.scheme']
      : []),
  ];
  return { status: 'True', reason: 'Ready', message: remarks.join('; ') };
}

function noReadyMessage(
  draining: number,
  held: number,
  excluded: readonly Excluded[],
  backends: readonly ResolvedBackend[],
): string {
  if (draining > 0) return 'No endpoint is ready; terminating endpoints that still serve receive the traffic';
  const check = whatToCheck(backends);
  if (held > 0) {
    return `No endpoint is ready; nodes kept by the removal guard receive the traffic: ${check}`;
  }
  if (excluded.some(({ reason }) => reason === 'AddressNotAllowed')) {
    const allowing = backends.some(isRegistry)
      ? 'the GatewayConnection and the ServiceRegistry allow'
      : 'the GatewayConnection allows';
    return `No ready endpoint has an address that ${allowing}, so the gateway answers 503: see status.excluded`;
  }
  return `No endpoint is ready, so the gateway answers 503: ${check}`;
}

function isRegistry({ target }: ResolvedBackend): boolean {
  return target.kind === 'registry';
}

function whatToCheck(backends: readonly ResolvedBackend[]): string {
  const unmatched = backends.flatMap((backend, index) =>
    'found' in backend && (backend.unmatched ?? 0) > 0
      ? [
          `${backend.unmatched} instances in the registry do not have the metadata that spec.backends[${index}] requires`,
        ]
      : [],
  );
  if (unmatched.length > 0) return unmatched.join('; ');
  if (!backends.some(isRegistry)) return 'check the Pods behind the Service';
  return backends.every(isRegistry)
    ? 'check the instances in the registry'
    : 'check the Pods behind the Service and the instances in the registry';
}
