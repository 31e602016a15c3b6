// Keeps pages up to date and handles their buttons. Pages can be read, and their forms sent, without it.
'use strict';
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Times

  const timeAgo = (seconds) => {
    if (seconds < 5) return 'just now';
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
  };
  const timeLeft = (seconds) => {
    if (seconds <= 0) return 'over';
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
  };
  const updateTimes = () => {
    for (const time of $$('time[datetime]')) {
      const ago = Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000);
      const text = time.hasAttribute('data-countdown') ? timeLeft(-ago) : timeAgo(Math.max(0, ago));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  // Updates the page to what the server would render now, and leaves alone what has not changed.

  const morph = (current, fresh) => {
    if (current.hasAttribute('data-keep') || current.isEqualNode(fresh)) return;
    for (const { name, value } of fresh.attributes) {
      if (name !== 'open' && name !== 'hidden' && current.getAttribute(name) !== value) current.setAttribute(name, value);
    }
    for (const { name } of [...current.attributes]) {
      if (name !== 'open' && name !== 'hidden' && !fresh.hasAttribute(name)) current.removeAttribute(name);
    }
    const byId = new Map([...current.children].filter((child) => child.id).map((child) => [child.id, child]));
    let at = current.firstChild;
    for (const child of [...fresh.childNodes]) {
      const same = child.id ? byId.get(child.id) : at && !at.id ? at : null;
      if (same && same.nodeName === child.nodeName) {
        if (same === at) at = at.nextSibling;
        else current.insertBefore(same, at);
        if (same.nodeType === Node.ELEMENT_NODE) morph(same, child);
        else if (same.data !== child.data) same.data = child.data;
      } else {
        current.insertBefore(document.importNode(child, true), at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  // A list under the pointer keeps its order until the pointer leaves; its rows are updated in place.
  const pendingUpdates = new Map();
  const update = (region, fresh) => {
    if (region.hasAttribute('data-hold-on-hover') && region.matches(':hover')) {
      for (const row of $$('tr[id], .cards > li[id]', region)) {
        const same = fresh.querySelector(`#${CSS.escape(row.id)}`);
        if (same) morph(row, same);
      }
      if (!pendingUpdates.has(region)) {
        region.addEventListener('mouseleave', () => {
          const last = pendingUpdates.get(region);
          pendingUpdates.delete(region);
          morph(region, last);
          showScriptedControls();
          updateTimes();
        }, { once: true });
      }
      pendingUpdates.set(region, fresh);
    } else {
      pendingUpdates.delete(region);
      morph(region, fresh);
    }
  };

  const refresh = async () => {
    const response = await fetch(location.href, { headers: { Accept: 'text/html' }, signal: AbortSignal.timeout(10000) });
    if (response.redirected) location.reload();
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), 'text/html');
    const before = $('[data-task]')?.dataset.state;
    for (const fresh of $$('[data-live]', page)) {
      const region = document.getElementById(fresh.id);
      if (region) update(region, fresh);
    }
    const task = $('[data-task]');
    if (task && task.dataset.state !== before && !['queued', 'running'].includes(task.dataset.state)) {
      $('#announcement').textContent = task.dataset.announcement;
      $('#dialog-cancel')?.close();
    }
    showScriptedControls();
    updateTimes();
  };

  // Live

  const connection = $('#connection');
  const showConnection = (live) => {
    connection.hidden = false;
    connection.classList.toggle('offline', !live);
    const label = live ? 'live' : 'reconnecting';
    if ($('.label', connection).textContent !== label) $('.label', connection).textContent = label;
  };
  let timer = null;
  let refreshing = false;
  const scheduleRefresh = (after) => {
    timer ??= setTimeout(async () => {
      timer = null;
      if (refreshing) return scheduleRefresh(300);
      refreshing = true;
      try {
        await refresh();
        showConnection(source?.readyState === EventSource.OPEN);
      } catch {
        showConnection(false);
        scheduleRefresh(3000);
      }
      refreshing = false;
    }, after);
  };
  let source = null;
  const connect = () => {
    source = new EventSource('/events');
    source.onopen = () => showConnection(true);
    source.onerror = () => {
      showConnection(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
    };
    source.addEventListener('change', ({ data }) => {
      const change = JSON.parse(data);
      const task = $('[data-task]')?.dataset.task;
      if (!task || change.all || change.tasks.includes(task)) scheduleRefresh(200);
    });
  };

  // Buttons

  const showScriptedControls = () => {
    const scripted = '[data-dialog], [data-secret], [data-copy], [data-login], [data-extend], [data-needs-script]';
    for (const control of $$(scripted)) control.hidden = false;
  };

  const showSecret = async (button) => {
    button.disabled = true;
    try {
      const response = await fetch(`/tasks/${$('[data-task]').dataset.task}`, { headers: { Accept: 'application/json' } });
      const { result } = await response.json();
      const secret = button.dataset.secret.split('.').reduce((part, name) => part?.[name], result);
      const output = document.createElement('output');
      output.textContent = secret ?? 'no longer kept';
      const container = button.parentElement;
      container.setAttribute('data-keep', '');
      container.replaceChildren(output);
      if (secret) {
        const copy = document.createElement('button');
        copy.type = 'button';
        copy.className = 'small';
        copy.textContent = 'Copy';
        copy.addEventListener('click', () => copyText(copy, secret));
        container.append(copy);
        copy.focus();
      }
    } catch {
      button.disabled = false;
      button.textContent = 'Cannot be loaded. Try again';
    }
  };

  const copyText = async (button, text) => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Select the text to copy it';
    }
  };

  // Sends a request that changes something. Throws the problem's title on failure.
  const send = async (method, url, body) => {
    const headers = body ? { 'Content-Type': 'application/json' } : {};
    const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
    const json = await response.json();
    if (!response.ok) throw new Error(json.title);
    return json;
  };

  // Runs a button's action; its error is shown in `errorElement`.
  const runAction = async (button, errorElement, action) => {
    button.disabled = true;
    errorElement.textContent = '';
    try {
      await action();
    } catch (error) {
      errorElement.textContent = error.message;
    }
    button.disabled = false;
    scheduleRefresh(0);
  };
  const confirmAction = (button, method, url, announcement) => {
    const dialog = button.closest('dialog');
    return runAction(button, $('.error', dialog), async () => {
      await send(method, url);
      dialog.close();
      $('#announcement').textContent = announcement;
    });
  };
  const extend = (button) => runAction(button, $('#clones-error'), async () => {
    const select = $('select', button.parentElement);
    await send('PATCH', button.dataset.extend, { ttl_minutes: Number(select.value) });
    $('#announcement').textContent = `The clone is kept for ${select.selectedOptions[0].text} from now.`;
  });
  const login = (button) => runAction(button, $('#clones-error'), async () => {
    const { url, expires_at } = await send('POST', button.dataset.login);
    const container = button.parentElement;
    const link = document.createElement('a');
    Object.assign(link, { href: url, target: '_blank', rel: 'noopener noreferrer', textContent: 'Open wp-admin (once)' });
    const restoreButton = () => {
      container.removeAttribute('data-keep');
      container.replaceChildren(button);
    };
    // The link was used, or it has expired. Deferred, because the browser has yet to follow it.
    link.addEventListener('click', () => setTimeout(restoreButton));
    setTimeout(restoreButton, Date.parse(expires_at) - Date.now());
    container.setAttribute('data-keep', '');
    container.replaceChildren(link);
    link.focus();
  });
  const openDialog = (button) => {
    const dialog = document.getElementById(`dialog-${button.dataset.dialog}`);
    const { url, name } = button.dataset;
    if (url) {
      $('[data-delete]', dialog).dataset.delete = url;
      $('[data-clone-name]', dialog).textContent = name;
    }
    $('.error', dialog).textContent = '';
    dialog.showModal();
  };

  document.addEventListener('click', (event) => {
    const clicked = (selector) => event.target.closest?.(selector);
    const [opens, secret, copy, cancels, deletes, extendsClone, logsIn, screenshot] = [
      '[data-dialog]', '[data-secret]', '[data-copy]', '[data-cancel]', '[data-delete]', '[data-extend]', '[data-login]',
      '[data-screenshot]',
    ].map(clicked);
    if (opens) openDialog(opens);
    else if (secret) showSecret(secret);
    else if (copy) copyText(copy, $('code', copy.parentElement).textContent);
    else if (cancels) confirmAction(cancels, 'POST', cancels.dataset.cancel, 'The task is being cancelled.');
    else if (deletes) confirmAction(deletes, 'DELETE', deletes.dataset.delete, 'The clone is being deleted.');
    else if (extendsClone) extend(extendsClone);
    else if (logsIn) login(logsIn);
    else if (screenshot && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      const dialog = $('#screenshot');
      const image = $('img', dialog);
      image.src = screenshot.href;
      image.alt = $('img', screenshot).alt;
      dialog.showModal();
    } else if (event.target.matches('dialog')) event.target.close();
  });

  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input, select, textarea, dialog');
    if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey && $('#search')) {
      event.preventDefault();
      $('#search').focus();
    } else if (event.key === 'Escape' && event.target.id === 'search') event.target.blur();
  });

  // Forms that start a task

  const taskForm = $('[data-submit-once]');
  const submitButton = taskForm && $('[type=submit]', taskForm);
  const submitLabel = submitButton?.textContent;
  // The fields of a target are required while they are shown.
  const requireTarget = () => {
    for (const input of $$('#target-settings input')) input.required = $('#destination-target').checked;
  };
  const allowSubmit = () => {
    delete taskForm.dataset.sent;
    submitButton.removeAttribute('aria-disabled');
    submitButton.textContent = submitLabel;
    requireTarget();
  };
  if (taskForm) {
    taskForm.addEventListener('change', requireTarget);
    taskForm.addEventListener('submit', (event) => {
      if (taskForm.dataset.sent) return event.preventDefault();
      taskForm.dataset.sent = 'true';
      submitButton.setAttribute('aria-disabled', 'true');
      submitButton.textContent = 'Starting…';
    });
    addEventListener('pageshow', allowSubmit);
  }

  // A link to a <details> opens it.
  const openTarget = () => {
    const part = document.getElementById(location.hash.slice(1));
    if (part?.matches('details')) part.open = true;
  };
  addEventListener('hashchange', openTarget);

  openTarget();
  showScriptedControls();
  setInterval(updateTimes, 1000);
  // A page without live regions, such as a form, is never reloaded.
  if (document.body.hasAttribute('data-live-updates') && $('[data-live]')) {
    connect();
    // Heartbeats of workers cause no event.
    setInterval(() => { if (!document.hidden) scheduleRefresh(0); }, 10000);
  }
})();
