#!/usr/bin/env node
'use strict';
// Plain old syntax on purpose: a Node that is too old must still parse this file, to say so.

var fs = require('fs');
var path = require('path');

var NODE_MIN = [22, 18];
var root = path.join(__dirname, '..');

function isOldNode() {
  var parts = process.versions.node.split('.');
  var major = Number(parts[0]);
  return major < NODE_MIN[0] || (major === NODE_MIN[0] && Number(parts[1]) < NODE_MIN[1]);
}

function entryFile() {
  var built = path.join(root, 'dist', 'cli', 'main.js');
  return fs.existsSync(built) ? built : path.join(root, 'src', 'cli', 'main.ts');
}

// A checkout has a new enough Node as a dev dependency; an installed package does not.
function checkoutNode() {
  var name = process.platform === 'win32' ? 'node.exe' : 'node';
  var file = path.join(root, 'node_modules', 'node', 'bin', name);
  if (!fs.existsSync(file)) return null;
  return fs.realpathSync(file) === fs.realpathSync(process.execPath) ? null : file;
}

// Whoever stops us means the child: we outlive the signal, hand it on, and end as the child ends.
function runWith(node) {
  var args = [__filename].concat(process.argv.slice(2));
  var child = require('child_process').spawn(node, args, { stdio: 'inherit' });
  var signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];
  var hasTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  signals.forEach((signal) => {
    process.on(signal, () => {
      // A terminal's Ctrl-C reaches the child by itself; twice would mean "at once" to it.
      var sentByTerminal = signal === 'SIGINT' || signal === 'SIGQUIT';
      if (!(hasTerminal && sentByTerminal)) child.kill(signal);
    });
  });
  child.on('error', (error) => {
    process.stderr.write('biovec: cannot start ' + node + ': ' + error.message + '\n');
    process.exit(2);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    signals.forEach((name) => {
      process.removeAllListeners(name);
    });
    process.kill(process.pid, signal);
  });
}

function main() {
  if (!isOldNode()) {
    // Compiled (and, in a checkout, type-stripped) code is kept for the next start: it halves it.
    require('module').enableCompileCache();
    import(require('url').pathToFileURL(entryFile()).href);
    return;
  }
  var node = checkoutNode();
  if (node !== null) {
    runWith(node);
    return;
  }
  process.stderr.write(
    'biovec: Node ' + NODE_MIN.join('.') + ' or newer is needed; this is ' + process.version + '\n'
  );
  process.exit(2);
}

main();
