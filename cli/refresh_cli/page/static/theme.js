// Sets the chosen theme before the first paint; without a choice, the system's setting applies.
{
  const chosen = localStorage.getItem('theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
}
