import { GATEWAY_UPSTREAM } from '../../api/crd.ts';
import { GROUP, VERSION } from '../../api/group.ts';
import type { Catalog } from '../../catalog.ts';
import type { Lease, LeaseSpec } from '../../kube/leader.ts';
import { listAll } from '../../kube/list-all.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { GatewayUpstream } from '../../model/objects.ts';
import { type Finding, failed, fine, kubeError, SOLVE_FIRST } from './finding.ts';

export interface CheckUpstreamsDeps {
  readonly catalog: Catalog;
  readonly transport: KubeTransport;
  readonly operatorNamespace: string;
  /** The watched namespaces. Empty: all. */
  readonly namespaces: readonly string[];
  /** Name of the Lease in `operatorNamespace`. Undefined: the operator runs without leader election. */
  readonly leaseName: string | undefined;
  /** Wall clock, milliseconds. */
  readonly now: number;
}

/** Longer lists are easier to read with `kubectl get`. */
const MAX_SHOWN_UPSTREAMS = 50;
/** In addition to the Lease's duration, to tolerate clock skew. */
const STALE_LEASE_MS = 300_000;

/** Checks the leader and the status of every GatewayUpstream. */
export async function checkLeaderAndUpstreams(
  deps: CheckUpstreamsDeps,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const leader = await leaderOf(deps, signal);
  return [...leaderFindings(deps, leader), ...(await checkUpstreams(deps, leader, signal))];
}

/** The leader according to the Lease. `silent`: it no longer renews the Lease. */
type Leader =
  | { readonly kind: 'leads' | 'silent'; readonly holder: string; readonly renewTime: string }
  | { readonly kind: 'none' }
  /** The operator runs without leader election, or the Lease cannot be read. */
  | { readonly kind: 'unknown' };

async function leaderOf(
  { transport, operatorNamespace: namespace, leaseName, now }: CheckUpstreamsDeps,
  signal: AbortSignal,
): Promise<Leader> {
  if (leaseName === undefined) return { kind: 'unknown' };
  const path = resourcePath({
    group: 'coordination.k8s.io',
    version: 'v1',
    plural: 'leases',
    namespace,
    name: leaseName,
  });
  let spec: LeaseSpec | undefined;
  try {
    ({ spec } = (await transport.get(path, { signal })) as Lease);
  } catch (error) {
    // A missing permission is reported by another check.
    return { kind: kubeError(error).status === 404 ? 'none' : 'unknown' };
  }
  const { holderIdentity: holder = '', renewTime = '', leaseDurationSeconds = 0 } = spec ?? {};
  if (holder === '') return { kind: 'none' };
  const silentMs = now - Date.parse(renewTime) - leaseDurationSeconds * 1000;
  return { kind: silentMs > STALE_LEASE_MS ? 'silent' : 'leads', holder, renewTime };
}

function leaderFindings(
  { operatorNamespace, leaseName }: CheckUpstreamsDeps,
  leader: Leader,
): readonly Finding[] {
  const lease = `Lease ${operatorNamespace}/${leaseName}`;
  switch (leader.kind) {
    case 'leads':
      return [fine('leader', `${leader.holder} (${lease})`)];
    case 'none':
      return [fine('leader', `no replica is the leader (${lease})`)];
    case 'silent':
      return [
        failed(
          'leader',
          `${leader.holder} holds ${lease} but has not renewed it since ${leader.renewTime}`,
          'check that the operator is running',
        ),
      ];
    case 'unknown':
      return [];
    default:
      return leader satisfies never;
  }
}

/** Reports the status that the operator wrote. Without a running operator, the status may be out of date. */
async function checkUpstreams(
  deps: CheckUpstreamsDeps,
  leader: Leader,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  let objects: readonly GatewayUpstream[];
  let others: readonly GatewayUpstream[];
  try {
    ({ objects, others } = await upstreamsFor(deps, signal));
  } catch (error) {
    return [failed('GatewayUpstreams', kubeError(error).message, SOLVE_FIRST)];
  }
  const findings = [
    ...objects.flatMap((object) => upstreamFindings(object, leader)),
    // A GatewayUpstream with a status belongs to another operator.
    ...others.filter(isPending).map(notWatched),
  ];
  const problems = findings.length;
  const shown = findings.slice(0, MAX_SHOWN_UPSTREAMS);
  if (problems > shown.length) {
    const more = `${problems - shown.length} more findings`;
    shown.push(failed('GatewayUpstreams', more, 'list them with kubectl get gatewayupstreams -A -o wide'));
  }
  return problems === 0
    ? [
        fine(
          'GatewayUpstreams',
          objects.length === 0 ? 'no GatewayUpstream exists yet' : `all ${objects.length} are Ready`,
        ),
      ]
    : shown;
}

/** The GatewayUpstreams in the watched namespaces and, if this user may list them, those in other namespaces. */
async function upstreamsFor(
  { catalog, transport, namespaces }: CheckUpstreamsDeps,
  signal: AbortSignal,
): Promise<{ readonly objects: readonly GatewayUpstream[]; readonly others: readonly GatewayUpstream[] }> {
  const resource = { group: GROUP, version: VERSION, plural: GATEWAY_UPSTREAM.plural };
  const list = async (namespace?: string) => {
    const path = resourcePath({ ...resource, ...(namespace === undefined ? {} : { namespace }) });
    const raw = (await listAll(transport, path, {}, signal)) ?? [];
    return raw.flatMap((object) => catalog.transforms.gatewayUpstream(object) ?? []);
  };
  try {
    const all = await list();
    const isWatched = ({ namespace }: GatewayUpstream) =>
      namespaces.length === 0 || namespaces.includes(namespace);
    return { objects: all.filter(isWatched), others: all.filter((object) => !isWatched(object)) };
  } catch (error) {
    if (namespaces.length === 0 || kubeError(error).status !== 403) throw error;
    return { objects: (await Promise.all(namespaces.map(list))).flat(), others: [] };
  }
}

function isPending({ status }: GatewayUpstream): boolean {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  return ready === undefined || ready.reason === 'Pending';
}

/** Everything except `Ready=True/Ready`. An active removal guard and zero endpoints are reported but are not failures. */
function upstreamFindings(object: GatewayUpstream, leader: Leader): readonly Finding[] {
  const where = nameOf(object);
  const condition = (type: string) => object.status?.conditions?.find((one) => one.type === type);
  const guard = condition('RemovalHeld');
  const notes = guard === undefined ? [] : [fine(where, `${guard.reason}: ${guard.message}`)];
  const ready = condition('Ready');
  if (ready === undefined || isPending(object)) return [...notes, notProcessed(where, leader)];
  const message = `${ready.reason}: ${ready.message}`;
  if (ready.status !== 'True') return [...notes, failed(where, message, undefined)];
  return ready.reason === 'Ready' ? notes : [...notes, fine(where, message)];
}

function notProcessed(where: string, leader: Leader): Finding {
  switch (leader.kind) {
    case 'leads':
      return failed(
        where,
        'no operator has processed it yet',
        `check the log of the leader, ${leader.holder}`,
      );
    case 'silent':
    case 'none':
      return failed(
        where,
        'no operator has processed it yet, and no replica is the leader',
        'start the operator',
      );
    case 'unknown':
      return failed(
        where,
        'no operator has processed it yet',
        'check that the operator is running, and check its log',
      );
    default:
      return leader satisfies never;
  }
}

function notWatched(object: GatewayUpstream): Finding {
  return failed(
    nameOf(object),
    `no operator has processed it yet, and this operator does not watch namespace ${object.namespace}`,
    'add the namespace to namespaces in the configuration and grant the operator permissions there, or run another operator for it',
  );
}

function nameOf({ namespace, name }: GatewayUpstream): string {
  return `GatewayUpstream ${namespace}/${name}`;
}
