import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';

interface CertificateRequest {
  readonly commonName: string;
  /** DNS names and IPv4 addresses. Node and Go reject a server certificate without them. */
  readonly hosts: readonly string[];
  readonly usage: 'server' | 'client';
}

export interface IssuedCertificate {
  readonly certPem: string;
  /** PKCS #8. */
  readonly keyPem: string;
}

export interface CertificateAuthority {
  readonly certPem: string;
  /** Signs a certificate for a new P-256 key, valid from one hour ago for one year. */
  issue(request: CertificateRequest): IssuedCertificate;
}

/**
 * A certificate authority for TLS servers and clients in tests. node:crypto cannot issue certificates, so this file encodes
 * the required structures of RFC 5280.
 */
export function createCertificateAuthority(): CertificateAuthority {
  const key = newKey();
  const name = `test authority ${randomBytes(4).toString('hex')}`;
  const certPem = certificate({
    subject: name,
    subjectKey: key.publicKey,
    issuer: name,
    issuerKey: key,
    extensions: [
      extension('2.5.29.19', sequence(der(0x01, Buffer.of(0xff))), 'critical'),
      extension('2.5.29.15', der(0x03, Buffer.of(1, 0x06)), 'critical'),
    ],
  });
  return {
    certPem,
    issue({ commonName, hosts, usage }) {
      const subject = newKey();
      const extensions = [
        extension('2.5.29.15', der(0x03, Buffer.of(7, 0x80)), 'critical'),
        extension('2.5.29.37', sequence(oid(`1.3.6.1.5.5.7.3.${usage === 'server' ? 1 : 2}`))),
      ];
      if (hosts.length > 0) extensions.push(extension('2.5.29.17', sequence(...hosts.map(generalName))));
      return {
        certPem: certificate({
          subject: commonName,
          subjectKey: subject.publicKey,
          issuer: name,
          issuerKey: key,
          extensions,
        }),
        keyPem: subject.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      };
    },
  };
}

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

interface CertificateFields {
  readonly subject: string;
  readonly subjectKey: KeyObject;
  readonly issuer: string;
  readonly issuerKey: KeyPair;
  readonly extensions: readonly Buffer[];
}

const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;

function newKey(): KeyPair {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function certificate(fields: CertificateFields): string {
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'));
  const now = Date.now();
  const serial = randomBytes(16);
  // DER integers are signed. These top bits make the serial positive without a leading zero byte.
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, serial),
    algorithm,
    distinguishedName(fields.issuer),
    sequence(utcTime(now - HOUR_MS), utcTime(now + YEAR_MS)),
    distinguishedName(fields.subject),
    fields.subjectKey.export({ type: 'spki', format: 'der' }),
    der(
      0xa3,
      sequence(
        ...fields.extensions,
        extension('2.5.29.14', der(0x04, keyId(fields.subjectKey))),
        extension('2.5.29.35', sequence(der(0x80, keyId(fields.issuerKey.publicKey)))),
      ),
    ),
  );
  const signature = sign('sha256', body, fields.issuerKey.privateKey);
  const text = sequence(body, algorithm, der(0x03, Buffer.of(0), signature)).toString('base64');
  return `-----BEGIN CERTIFICATE-----\n${text.replaceAll(/.{1,64}/g, '$&\n')}-----END CERTIFICATE-----\n`;
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body]);
  const digits = body.length.toString(16);
  const length = Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
  return Buffer.concat([Buffer.of(tag, 0x80 | length.length), length, body]);
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return der(0x30, ...parts);
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const septets = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) septets.unshift((left & 0x7f) | 0x80);
    bytes.push(...septets);
  }
  return der(0x06, Buffer.from(bytes));
}

function extension(id: string, value: Buffer, critical?: 'critical'): Buffer {
  const flag = critical === undefined ? [] : [der(0x01, Buffer.of(0xff))];
  return sequence(oid(id), ...flag, der(0x04, value));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(commonName)))));
}

function utcTime(timeMs: number): Buffer {
  const digits = new Date(timeMs).toISOString().replaceAll(/[-:T]/g, '');
  return der(0x17, Buffer.from(`${digits.slice(2, 14)}Z`));
}

function keyId(key: KeyObject): Buffer {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
    .subarray(0, 20);
}

function generalName(host: string): Buffer {
  if (isIPv4(host)) return der(0x87, Buffer.from(host.split('.').map(Number)));
  if (isIPv6(host)) throw new Error(`no certificate for ${host}: IPv6 addresses are not supported`);
  return der(0x82, Buffer.from(host, 'ascii'));
}
