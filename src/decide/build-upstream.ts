import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import { MAX_EXCLUDED, MAX_WARNINGS } from '../api/gateway-upstream-status.ts';
import type { FoundKeyPair } from '../model/key-pair.ts';
import type { OwnerMark } from '../model/ownership.ts';
import type { Scheme, UpstreamId } from '../model/upstream.ts';
import { backendMarks } from './backend-marks.ts';
import { foundBy, isRecognized, type ResolvedBackend } from './backends.ts';
import type { Desired } from './desired.ts';
import { SCHEME_DEFAULT, schemeOf, trafficOf } from './traffic.ts';
import { readyVerdict, resolvedRefs } from './upstream-verdicts.ts';
import {
  type GuardedNode,
  MAX_WEIGHT_SUM,
  MAX_WEIGHT_SUM_HASH,
  weighedNodes,
  weighingWarning,
} from './weighed-nodes.ts';

const NO_LABELS = {};

/** The parts of an upstream that do not come from the spec. */
export interface Identity {
  readonly id: UpstreamId;
  /** Absent for an upstream without ownership labels. */
  readonly owner?: OwnerMark;
  /** The field of the spec for this type of gateway, e.g. `apisix`. */
  readonly section: string;
  /** Whether a node keeps its `backendMark` in this type of gateway. Absent: no. */
  readonly keepsBackendMarks?: boolean;
}

/**
 * The desired upstream for `spec`. The result does not depend on the order of endpoints. `clientCertificate` is the
 * resolved `spec.tls.clientCertificateSecretRef`; undefined if it is not set or not resolved.
 */
export function buildUpstream(
  spec: GatewayUpstreamSpec,
  identity: Identity,
  backends: readonly ResolvedBackend[],
  held: readonly GuardedNode[] = [],
  clientCertificate?: FoundKeyPair,
): Desired {
  const traffic = trafficOf(
    spec,
    identity.section,
    clientCertificate?.state === 'known' ? clientCertificate.pair : undefined,
  );
  const scheme = spec.scheme ?? defaultScheme(backends);
  const maxSum = traffic.loadBalancing.type === 'ConsistentHash' ? MAX_WEIGHT_SUM_HASH : MAX_WEIGHT_SUM;
  const targets = backends.map(({ target }) => target);
  const marks = backendMarks(targets, identity.keepsBackendMarks === true);
  const weighing = weighedNodes(spec, backends, held, maxSum, marks);
  return {
    upstream: {
      id: identity.id,
      ...(identity.owner === undefined ? {} : { owner: identity.owner }),
      labels: spec.labels ?? NO_LABELS,
      nodes: weighing.nodes,
      ...traffic,
      scheme: scheme ?? SCHEME_DEFAULT,
    },
    resolvedRefs: resolvedRefs(backends, clientCertificate),
    counts: weighing.counts,
    excluded: weighing.excluded.slice(0, MAX_EXCLUDED),
    action: actionFor(backends, clientCertificate),
    ready: readyVerdict(backends, weighing, scheme === undefined),
    warnings: weighing.problems
      .map((problem) => weighingWarning(problem, backends, maxSum))
      .slice(0, MAX_WARNINGS),
  };
}

/** The scheme from `appProtocol` of the Service ports; undefined if they differ. */
function defaultScheme(backends: readonly ResolvedBackend[]): Scheme | undefined {
  const said = new Set(
    backends.flatMap((backend) =>
      'found' in backend && backend.found.state === 'known'
        ? [schemeOf(backend.found.front?.port?.appProtocol)]
        : [],
    ),
  );
  const [scheme = SCHEME_DEFAULT] = said;
  return said.size > 1 ? undefined : scheme;
}

function actionFor(
  backends: readonly ResolvedBackend[],
  clientCertificate: FoundKeyPair | undefined,
): Desired['action'] {
  // Without the certificate, the nodes would reject the gateway, and the gateway does not return the key that it has.
  if (clientCertificate?.state === 'unusable') return 'wait';
  const found = backends.map((backend) => (isRecognized(backend) ? undefined : foundBy(backend)));
  const unknown = [...found, clientCertificate].filter((one) => one?.state === 'unknown');
  if (unknown.length > 0) return unknown.every(({ beginning }) => beginning) ? 'notYet' : 'wait';
  return found.some((one) => one === undefined || one.state === 'known' || one.state === 'external')
    ? 'write'
    : 'onlyIfPresent';
}
