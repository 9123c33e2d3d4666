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
      return [{ status: 'Unknown', reason: 'SourceUnavailable', message: found.message }];
    case 'absent':
    case 'notPermitted':
    case 'unusable':
      return [{ status: 'False', reason: found.reason, message: found.message }];
    default:
      return found satisfies never;
  }
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
      message: noReadyMessage(weighted.draining, counts.held, excluded),
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

function noReadyMessage(draining: number, held: number, excluded: readonly Excluded[]): string {
  if (draining > 0) return 'No endpoint is ready; terminating endpoints that still serve receive the traffic';
  if (held > 0) {
    return 'No endpoint is ready; nodes kept by the removal guard receive the traffic: check the Pods behind the Service';
  }
  return excluded.some(({ reason }) => reason === 'AddressNotAllowed')
    ? 'No ready endpoint has an address that the GatewayConnection allows, so the gateway answers 503: see status.excluded'
    : 'No endpoint is ready, so the gateway answers 503: check the Pods behind the Service';
}
