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
import { WriteRefusal } from './write-refusal.ts';

export interface WriteGateOptions {
  readonly driver: Pick<GatewayDriver, 'checkWrite'>;
  readonly clock: Clock;
  readonly limit: <T>(request: () => Promise<T>) => Promise<T>;
  readonly mayWrite: () => boolean;
  /** The gateway answered a write, or did not. */
  readonly onWrite?: ((operation: WriteOperation, outcome: 'accepted' | Reason) => void) | undefined;
  /** The gateway began to refuse every write, or accepts writes again. */
  readonly onRefusal: () => void;
  /** A write got no answer. */
  readonly onUncertain: () => void;
}

/** An accepted write says for so long that the gateway accepts writes. */
const RECENT_MS = 60_000;

type Probe = GatewayAuthError | 'accepted' | 'unknown';

/** Every write of a session passes here: it is refused, sent, counted, and its failure is judged. */
export class WriteGate {
  readonly #options: WriteGateOptions;
  readonly #requests: Requests;
  readonly #slots: Slots;
  readonly #closed: AbortSignal;
  #refusal: WriteRefusal | undefined;
  #probe: Promise<Probe> | undefined;
  #underWay = 0;
  /** When the last write ended, on the monotonic clock. */
  #endedAt = Number.NEGATIVE_INFINITY;
  /** The last write that the gateway accepted. */
  #lastAccepted: { readonly id: UpstreamId; readonly at: number } | undefined;

  constructor(options: WriteGateOptions, requests: Requests, slots: Slots, closed: AbortSignal) {
    this.#options = options;
    this.#requests = requests;
    this.#slots = slots;
    this.#closed = closed;
  }

  /** Whether a write is under way, or ended after `time` (monotonic). */
  isWritingSince(time: number): boolean {
    return this.#underWay > 0 || this.#endedAt > time;
  }

  /** Why the gateway refuses every write, although it may allow reads. */
  get refused(): GatewayAuthError | undefined {
    return this.#refusal?.error;
  }

  async write<T>(
    operation: WriteOperation,
    slot: Slot,
    signal: AbortSignal,
    write: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, mayWrite } = this.#options;
    const refusal = this.#refusal;
    if (refusal?.mayTry(slot.id, clock.monotonic()) === false) throw refusal.error;
    this.#underWay += 1;
    try {
      const result = await this.#requests.send(signal, (both) => {
        if (!mayWrite()) throw new WriteForbiddenError();
        return this.#counted(operation, write(both));
      });
      this.#lastAccepted = { id: slot.id, at: clock.monotonic() };
      this.#accepted();
      return result;
    } catch (error) {
      if (error instanceof GatewayAuthError) throw await this.#meaningOf(slot.id, error);
      if (!(error instanceof OperatorError) || error instanceof GatewayUnavailableError) {
        this.#slots.noteUncertain(slot, clock.monotonic());
        this.#options.onUncertain();
      }
      throw error;
    } finally {
      this.#underWay -= 1;
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

  /** The gateway accepts writes. */
  #accepted(): void {
    if (this.#refusal === undefined) return;
    this.#refusal = undefined;
    this.#options.onRefusal();
  }

  /** What the refusal of one write means: it concerns this upstream alone, or every write. */
  async #meaningOf(id: UpstreamId, error: GatewayAuthError): Promise<OperatorError> {
    this.#probe ??= this.#probeWrites().finally(() => {
      this.#probe = undefined;
    });
    const probe = await this.#probe;
    if (probe === 'unknown') return error;
    // A proxy may forbid the method of the probe alone: a write of another upstream is the better proof.
    if (probe === 'accepted' || this.#isOtherAccepted(id)) {
      this.#accepted();
      return new WriteRefusedError(
        `The Admin API, or a proxy in front of it, rejected this upstream (${error.status ?? 'no status'}) but accepts other writes`,
        {
          remedy: 'change the spec, or correct the proxy or firewall rule that blocks its content',
        },
      );
    }
    const before = this.#refusal;
    this.#refusal ??= new WriteRefusal(probe);
    this.#refusal.refused(id, this.#options.clock.monotonic());
    if (before === undefined) this.#options.onRefusal();
    return probe;
  }

  #isOtherAccepted(id: UpstreamId): boolean {
    const last = this.#lastAccepted;
    return last !== undefined && last.id !== id && this.#options.clock.monotonic() < last.at + RECENT_MS;
  }

  /** Asks whether the key may write at all; resolves to the refusal if it may not. */
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
