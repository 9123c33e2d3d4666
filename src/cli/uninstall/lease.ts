import { randomBytes } from 'node:crypto';
import { LEASE_SUCCESSOR_ANNOTATION } from '../../api/group.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import { handedOver, type Lease, microTime } from '../../kube/leader.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { Clock } from '../../runtime/clock.ts';
import { getObject, remove } from '../install/applier.ts';

export interface LeaseDeps {
  readonly transport: KubeTransport;
  readonly clock: Clock;
  /** Prints one line for the user. */
  readonly print: (line: string) => void;
}

export interface LeaseOptions {
  readonly namespace: string;
  readonly leaseName: string;
  readonly timeoutMs: number;
}

/** The operator's Lease, which this program holds and renews so that no replica writes. */
export interface TakenLease extends AsyncDisposable {
  /** Deletes the Lease, so that the next operator can become leader immediately. Without it, the Lease expires after disposal. */
  delete(signal: AbortSignal): Promise<void>;
}

/** Prefix of this program's identity. Replicas use their host name, which cannot contain a colon. */
const IDENTITY_PREFIX = 'uninstall:';
const POLL_MS = 250;
const RENEW_EVERY_MS = 10_000;
/** Pause after a failed renewal: short enough for several attempts before the Lease expires. */
const RETRY_EVERY_MS = 2000;
/** Added to the Lease's duration, so that a leader can finish its writes before it hands over the Lease. */
const GRACE_MS = 5000;
const DEFAULT_DURATION_S = 15;

/**
 * Asks the leader to hand over its Lease, or takes a free or expired one. After that, no replica writes or has a write in
 * flight. Resolves to undefined if there is no Lease, or if it cannot be taken, which is printed.
 */
export async function takeLease(
  { transport, clock, print }: LeaseDeps,
  { namespace, leaseName, timeoutMs }: LeaseOptions,
  signal: AbortSignal,
): Promise<TakenLease | undefined> {
  const path = leasePath(namespace, leaseName);
  const where = `Lease ${namespace}/${leaseName}`;
  const identity = `${IDENTITY_PREFIX}${randomBytes(4).toString('hex')}`;
  const begun = clock.monotonic();
  /** The last observed record of the holder and the time when it was first observed. */
  let record = { text: '', since: begun };
  for (;;) {
    let lease: Lease | undefined;
    try {
      lease = (await getObject(transport, path, signal)) as Lease | undefined;
      if (lease === undefined) return undefined;
      const text = recordOf(lease);
      if (text !== record.text) record = { text, since: clock.monotonic() };
      const holder = lease.spec?.holderIdentity ?? '';
      if (holder === identity) break;
      if (isFree(lease, clock.monotonic() - record.since)) {
        await take({ transport, clock }, path, lease, identity, signal);
        break;
      }
      if (lease.metadata.annotations?.[LEASE_SUCCESSOR_ANNOTATION] !== identity) {
        await requestHandover(transport, path, identity, signal);
      }
    } catch (error) {
      const { status, message } = error instanceof KubeApiError ? error : { status: undefined, message: '' };
      if (status === 403) {
        print(`${where} is not deleted, and the next operator waits until it expires: ${message}`);
        return undefined;
      }
      // Another client changed or deleted the Lease: read it again.
      if (status !== 409 && status !== 404) throw error;
    }
    const waitMs = Math.min(timeoutMs, durationMsOf(lease) + GRACE_MS);
    if (clock.monotonic() - begun >= waitMs) {
      print(
        `The operator did not hand over ${where} within ${waitMs / 1000} s. The next operator waits until it expires.`,
      );
      return undefined;
    }
    await clock.sleep(POLL_MS, signal);
  }
  print(`This command holds ${where}. No operator writes to the gateways.`);
  return renewed({ transport, clock, print }, { path, where, identity });
}

/** Renews the Lease of `identity` until it is deleted or disposed. Retries failed requests. */
function renewed(
  { transport, clock, print }: LeaseDeps,
  { path, where, identity }: { readonly path: string; readonly where: string; readonly identity: string },
): TakenLease {
  const stop = new AbortController();
  const renewing = (async () => {
    let waitMs = RENEW_EVERY_MS;
    for (;;) {
      await clock.sleep(waitMs, stop.signal).catch(() => undefined);
      if (stop.signal.aborted) return;
      try {
        const lease = (await getObject(transport, path, stop.signal)) as Lease | undefined;
        if (lease?.spec?.holderIdentity !== identity) {
          const holder = lease?.spec?.holderIdentity || 'no replica';
          print(
            `This command lost ${where} (new holder: ${holder}), so an operator may write again. Scale the operator down and run this command again.`,
          );
          return;
        }
        await take({ transport, clock }, path, lease, identity, stop.signal);
        waitMs = RENEW_EVERY_MS;
      } catch {
        // Includes conflicts: the next read shows the new holder.
        waitMs = RETRY_EVERY_MS;
      }
    }
  })();
  const end = async () => {
    stop.abort();
    await renewing;
  };
  return {
    [Symbol.asyncDispose]: end,
    async delete(signal) {
      await end();
      const lease = (await getObject(transport, path, signal)) as Lease | undefined;
      if (lease?.spec?.holderIdentity === identity) await remove(transport, path, signal);
    },
  };
}

/** A running leader changes its record several times within the Lease's duration. */
function isFree(lease: Lease, unchangedMs: number): boolean {
  const holder = lease.spec?.holderIdentity ?? '';
  return holder === '' || holder.startsWith(IDENTITY_PREFIX) || unchangedMs >= durationMsOf(lease);
}

function recordOf({ spec }: Lease): string {
  return JSON.stringify([spec?.holderIdentity, spec?.renewTime, spec?.acquireTime]);
}

function durationMsOf(lease: Lease | undefined): number {
  return (lease?.spec?.leaseDurationSeconds ?? DEFAULT_DURATION_S) * 1000;
}

/** Writes this program's identity. Rejects with a conflict if the Lease changed since it was read. */
async function take(
  { transport, clock }: Pick<LeaseDeps, 'transport' | 'clock'>,
  path: string,
  lease: Lease,
  identity: string,
  signal: AbortSignal,
): Promise<void> {
  const renewTime = microTime(clock.now());
  const spec = { ...lease.spec, ...handedOver(lease, identity, renewTime), renewTime };
  const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: lease.metadata, spec };
  await transport.send({ method: 'PUT', path, body, signal });
}

async function requestHandover(
  transport: KubeTransport,
  path: string,
  identity: string,
  signal: AbortSignal,
): Promise<void> {
  await transport.send({
    method: 'PATCH',
    path,
    contentType: 'application/merge-patch+json',
    body: { metadata: { annotations: { [LEASE_SUCCESSOR_ANNOTATION]: identity } } },
    signal,
  });
}

function leasePath(namespace: string, name: string): string {
  return resourcePath({ group: 'coordination.k8s.io', version: 'v1', plural: 'leases', namespace, name });
}
