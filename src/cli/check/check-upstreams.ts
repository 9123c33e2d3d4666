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
  /** The only namespaces to look at. Empty: all. */
  readonly namespaces: readonly string[];
  /** Of the Lease in `operatorNamespace`; undefined: the operator runs without one. */
  readonly leaseName: string | undefined;
  /** Wall clock, milliseconds. */
  readonly now: number;
}

/** Somebody who reads more than these looks at `kubectl get`. */
const MAX_SHOWN_UPSTREAMS = 50;
/** Beyond the Lease's duration: far more than clocks differ. */
const LONG_SILENT_MS = 300_000;

/** Who leads, and what the status of every GatewayUpstream says. */
export async function checkLeaderAndUpstreams(
  deps: CheckUpstreamsDeps,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const leader = await leaderOf(deps, signal);
  return [...leaderFindings(deps, leader), ...(await checkUpstreams(deps, leader, signal))];
}

/** Which operator writes, by its Lease. */
type Leader =
  | { readonly kind: 'leads' | 'silent'; readonly holder: string; readonly renewTime: string }
  | { readonly kind: 'none' }
  /** There is no Lease to look at, or no right to. */
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
    // A right that is missing is a finding of its own.
    return { kind: kubeError(error).status === 404 ? 'none' : 'unknown' };
  }
  const { holderIdentity: holder = '', renewTime = '', leaseDurationSeconds = 0 } = spec ?? {};
  if (holder === '') return { kind: 'none' };
  const silentMs = now - Date.parse(renewTime) - leaseDurationSeconds * 1000;
  return { kind: silentMs > LONG_SILENT_MS ? 'silent' : 'leads', holder, renewTime };
}

function leaderFindings(
  { operatorNamespace, leaseName }: CheckUpstreamsDeps,
  leader: Leader,
): readonly Finding[] {
  const lease = `Lease ${operatorNamespace}/${leaseName}`;
  switch (leader.kind) {
    case 'leads':
      return [fine('leader', `${leader.holder}, by ${lease}`)];
    case 'none':
      return [fine('leader', `no operator holds ${lease}`)];
    case 'silent':
      return [
        failed(
          'leader',
          `${leader.holder} holds ${lease} and has not renewed it since ${leader.renewTime}`,
          'check that the operator runs',
        ),
      ];
    case 'unknown':
      return [];
    default:
      return leader satisfies never;
  }
}

/** What the status of each GatewayUpstream says: the operator wrote it, so this says nothing while it does not run. */
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
    // One that an operator has processed is followed by another one.
    ...others.filter(isPending).map(notFollowed),
  ];
  const troubled = findings.length;
  const shown = findings.slice(0, MAX_SHOWN_UPSTREAMS);
  if (troubled > shown.length) {
    const more = `${troubled - shown.length} more findings`;
    shown.push(failed('GatewayUpstreams', more, 'list them with kubectl get gatewayupstreams -A -o wide'));
  }
  return troubled === 0
    ? [
        fine(
          'GatewayUpstreams',
          objects.length === 0 ? 'there is none yet' : `all ${objects.length} are Ready`,
        ),
      ]
    : shown;
}

/** The GatewayUpstreams that the operator follows, and those elsewhere where this user may list them. */
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
    const isFollowed = ({ namespace }: GatewayUpstream) =>
      namespaces.length === 0 || namespaces.includes(namespace);
    return { objects: all.filter(isFollowed), others: all.filter((object) => !isFollowed(object)) };
  } catch (error) {
    if (namespaces.length === 0 || kubeError(error).status !== 403) throw error;
    return { objects: (await Promise.all(namespaces.map(list))).flat(), others: [] };
  }
}

function isPending({ status }: GatewayUpstream): boolean {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  return ready === undefined || ready.reason === 'Pending';
}

/** What is not as one would wish; scaled to zero, or held by the removal guard, is no failure. */
function upstreamFindings(object: GatewayUpstream, leader: Leader): readonly Finding[] {
  const where = nameOf(object);
  const condition = (type: string) => object.status?.conditions?.find((one) => one.type === type);
  const held = condition('RemovalHeld');
  const notes = held === undefined ? [] : [fine(where, `${held.reason}: ${held.message}`)];
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
        `look at the log of ${leader.holder}, which leads`,
      );
    case 'silent':
    case 'none':
      return failed(where, 'no operator has processed it yet, and none leads', 'start the operator');
    case 'unknown':
      return failed(
        where,
        'no operator has processed it yet',
        'check that the operator runs, and look at its log',
      );
    default:
      return leader satisfies never;
  }
}

function notFollowed(object: GatewayUpstream): Finding {
  return failed(
    nameOf(object),
    `no operator has processed it yet, and this one does not follow namespace ${object.namespace}`,
    'add the namespace to namespaces in the configuration and give the operator its rights there, or run another operator for it',
  );
}

function nameOf({ namespace, name }: GatewayUpstream): string {
  return `GatewayUpstream ${namespace}/${name}`;
}
