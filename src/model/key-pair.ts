/** PEM. The key matches the certificate, so equal certificates mean equal keys. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** The certificate and key that an object refers to. `unknown` must never be treated as missing. */
export type FoundKeyPair =
  | { readonly state: 'known'; readonly pair: KeyPair }
  /** The pair is missing or invalid. */
  | {
      readonly state: 'unusable';
      readonly reason: 'SecretNotFound' | 'RefNotPermitted';
      readonly message: string;
    }
  | {
      readonly state: 'unknown';
      readonly message: string;
      /** See `Discovered`. */
      readonly beginning: boolean;
    };
