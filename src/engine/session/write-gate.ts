import type { Reason } from '../../api/reasons.ts';
import type { GatewayDriver } from '../../gateways/driver.ts';
import {
  GatewayAuthError,
  GatewayUnavailableError,
  OperatorError,
  WriteForbiddenError,
  WriteRefusedError,
} from '../../model/errors.ts';
import type { UpstreamId } from '../../model/upstream.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { WriteOperation } from '../instruments.ts';
import type { Requests } from './requests.ts';
import type { Slot, Slots } from './slot.ts';
import { WriteRejection } from './write-rejection.ts';

export interface WriteGateOptions {
  readonly driver: Pick<GatewayDriver, 'checkWrite'>;
  readonly clock: Clock;
  readonly limit: <T>(request: () => Promise<T>) => Promise<T>;
  readonly mayWrite: () => boolean;
  /** A write ended. */
  readonly onWrite?: ((operation: WriteOperation, outcome: 'accepted' | Reason) => void) | undefined;
  /** The gateway started to reject every write, or accepts writes again. */
  readonly onRejectionChange: () => void;
  /** A write got no response. */
  readonly onUncertain: () => void;
}

/** How long an accepted write proves that the gateway accepts writes. */
const RECENT_MS = 60_000;

type Probe = GatewayAuthError | 'accepted' | 'unknown';

/** Sends all writes of a session: blocks them while the gateway rejects every write, counts them, and classifies failures. */
export class WriteGate {
  readonly #options: WriteGateOptions;
  readonly #requests: Requests;
  readonly #slots: Slots;
  readonly #closed: AbortSignal;
  #rejection: WriteRejection | undefined;
  #probe: Promise<Probe> | undefined;
  #running = 0;
  /** When the last write ended (monotonic). */
  #endedAt = Number.NEGATIVE_INFINITY;
  /** The last write that the gateway accepted. */
  #lastAccepted: { readonly id: UpstreamId; readonly at: number } | undefined;

  constructor(options: WriteGateOptions, requests: Requests, slots: Slots, closed: AbortSignal) {
    this.#options = options;
    this.#requests = requests;
    this.#slots = slots;
    this.#closed = closed;
  }

  /** Whether a write is running or ended after `time` (monotonic). */
  isWritingSince(time: number): boolean {
    return this.#running > 0 || this.#endedAt > time;
  }

  /** Set while the gateway rejects every write, even if it accepts reads. */
  get rejected(): GatewayAuthError | undefined {
    return this.#rejection?.error;
  }

  async write<T>(
    operation: WriteOperation,
    slot: Slot,
    signal: AbortSignal,
    write: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, mayWrite } = this.#options;
    const rejection = this.#rejection;
    if (rejection?.mayTry(slot.id, clock.monotonic()) === false) throw rejection.error;
    this.#running += 1;
    try {
      const result = await this.#requests.send(signal, (both) => {
        if (!mayWrite()) throw new WriteForbiddenError();
        return this.#counted(operation, write(both));
      });
      this.#lastAccepted = { id: slot.id, at: clock.monotonic() };
      this.#accepted();
      return result;
    } catch (error) {
      if (error instanceof GatewayAuthError) throw await this.#classify(slot.id, error);
      if (!(error instanceof OperatorError) || error instanceof GatewayUnavailableError) {
        this.#slots.noteUncertain(slot, clock.monotonic());
        this.#options.onUncertain();
      }
      throw error;
    } finally {
      this.#running -= 1;
      this.#endedAt = clock.monotonic();
    }
  }

  async #counted<T>(operation: WriteOperation, request: Promise<T>): Promise<T> {
    const { onWrite } = this.#options;
    try {
      const result = await request;
      onWrite?.(operation, 'accepted');
      return result;
    } catch (error) {
      if (error instanceof OperatorError) onWrite?.(operation, error.reason);
      throw error;
    }
  }

  /** Records that the gateway accepts writes. */
  #accepted(): void {
    if (this.#rejection === undefined) return;
    this.#rejection = undefined;
    this.#options.onRejectionChange();
  }

  /** Finds out whether the rejection of a write concerns only this upstream or every write. */
  async #classify(id: UpstreamId, error: GatewayAuthError): Promise<OperatorError> {
    this.#probe ??= this.#probeWrites().finally(() => {
      this.#probe = undefined;
    });
    const probe = await this.#probe;
    if (probe === 'unknown') return error;
    // A proxy may forbid only the method of the probe. A recent write of another upstream is better evidence.
    if (probe === 'accepted' || this.#isOtherAccepted(id)) {
      this.#accepted();
      return new WriteRefusedError(
        `The Admin API, or a proxy in front of it, rejected this upstream (${error.status ?? 'no status'}) but accepts other writes`,
        {
          remedy: 'change the spec, or correct the proxy or firewall rule that blocks its content',
        },
      );
    }
    const before = this.#rejection;
    this.#rejection ??= new WriteRejection(probe);
    this.#rejection.rejected(id, this.#options.clock.monotonic());
    if (before === undefined) this.#options.onRejectionChange();
    return probe;
  }

  #isOtherAccepted(id: UpstreamId): boolean {
    const last = this.#lastAccepted;
    return last !== undefined && last.id !== id && this.#options.clock.monotonic() < last.at + RECENT_MS;
  }

  /** Checks whether the key may write. Resolves to the error if it may not. */
  async #probeWrites(): Promise<Probe> {
    const { limit, driver } = this.#options;
    try {
      await limit(() => driver.checkWrite(this.#closed));
      return 'accepted';
    } catch (error) {
      return error instanceof GatewayAuthError ? error : 'unknown';
    }
  }
}
