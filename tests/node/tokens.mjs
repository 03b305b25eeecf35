// Tokens signed by jose with the keys in the directory given; standard output has them as a list of
// {"name", "keys", "token", "expect"}.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT, importPKCS8 } from 'jose';

const directory = process.argv[2];
const read = (file) => readFileSync(join(directory, file), 'utf8');
const tokens = [];

async function sign(algorithm, key, keys) {
  const token = await new SignJWT({ rooms: ['r1', 'team-*'] })
    .setProtectedHeader({ alg: algorithm, typ: 'JWT', ...(keys === 'jwks.json' && { kid: algorithm }) })
    .setSubject('u1')
    .setIssuer('login')
    .setAudience(['push', 'mail'])
    .setIssuedAt()
    .setNotBefore('0s')
    .setExpirationTime('1h')
    .sign(key);
  tokens.push({ name: `jose, ${algorithm}`, keys, token, expect: 'ok' });
}

for (const algorithm of ['HS256', 'HS384', 'HS512']) {
  await sign(algorithm, new TextEncoder().encode(read('secret.txt').trimEnd()), 'secret.txt');
}
for (const algorithm of ['RS256', 'ES256', 'EdDSA']) {
  await sign(algorithm, await importPKCS8(read(`${algorithm}.pem`), algorithm), 'jwks.json');
}
console.log(JSON.stringify(tokens));
