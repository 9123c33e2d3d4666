/** PEM. The key belongs to the certificate, so that equal certificates mean equal keys. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** What is known of the pair that an object refers to. `unknown` must never be taken for missing. */
export type FoundKeyPair =
  | { readonly state: 'known'; readonly pair: KeyPair }
  /** There is none that can be used. */
  | {
      readonly state: 'unusable';
      readonly reason: 'SecretNotFound' | 'RefNotPermitted';
      readonly message: string;
    }
  | {
      readonly state: 'unknown';
      readonly message: string;
      /** As in `Discovered`. */
      readonly beginning: boolean;
    };
